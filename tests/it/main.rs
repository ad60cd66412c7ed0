//! All tests of the built program and of the library from outside, in one binary: linking is most of what a change costs.
//!
//! A module for each feature; `support` is what they share.

#[cfg(feature = "mlx")]
mod cache;
mod chaos;
mod check;
mod compare;
#[cfg(feature = "mlx")]
mod compute_paths;
mod config;
mod damaged;
mod doctor;
mod examples;
mod help;
mod import;
mod init;
mod launch;
mod library;
mod load;
mod minimize;
mod model;
mod named_files;
mod openai;
#[cfg(feature = "mlx")]
mod oracle;
#[cfg(target_os = "linux")]
mod output;
mod readme;
mod record;
mod record_sessions;
mod replay;
mod review;
mod schema;
mod serve;
mod support;
mod told;
mod trace;
mod trace_diff;
mod trace_export;
mod trace_grep;
mod trace_tools;

use std::fs;
use std::path::Path;

/// A file that no module names would not be compiled, and its tests would not run.
#[test]
fn every_file_is_a_module() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let loose = fs::read_dir(&tests).unwrap().map(|entry| entry.unwrap().path());
    let mut forgotten: Vec<_> = loose.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect();
    forgotten.extend(unnamed(&tests.join("it"), "main.rs"));
    assert!(forgotten.is_empty(), "no module: {forgotten:?}");
}

/// The files in a folder, and those below it, that the folder's own file does not name.
fn unnamed(folder: &Path, own: &str) -> Vec<std::path::PathBuf> {
    let text = fs::read_to_string(folder.join(own)).unwrap_or_default();
    // Whatever is before it says who sees the module.
    let names = |module: &str| text.lines().any(|line| format!(" {line}").ends_with(&format!(" mod {module};")));
    let mut unnamed = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let module = path.file_stem().unwrap().to_string_lossy();
        let is_source = path.is_dir() && module != "snapshots" || path.extension().is_some_and(|extension| extension == "rs");
        if !is_source || path.ends_with(own) {
            continue;
        }
        if !names(&module) {
            unnamed.push(path);
        } else if path.is_dir() {
            unnamed.extend(self::unnamed(&path, "mod.rs"));
        }
    }
    unnamed
}
