//! Damaged files for tests: whatever was done to a file, reading it ends in a value or in one line that names the file.

mod variants;

use std::fmt::Display;
use std::fs;
use std::path::Path;

pub(crate) use variants::damaged;

/// Writes every damaged variant of a file's content to `path` and reads it. An error must be one line that names the file, and at
/// least `refused` of the variants must be one: some damage is within a text, where nothing can find it.
#[track_caller]
pub(crate) fn assert_errors_name_the_file<T, E: Display>(
    path: &Path,
    bytes: &[u8],
    refused: usize,
    read: impl Fn() -> Result<T, E>,
) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let (mut errors, variants) = (0, damaged(bytes));
    let all = variants.len();
    for variant in variants {
        fs::write(path, variant).unwrap();
        if let Err(error) = read() {
            let line = error.to_string();
            assert!(line.contains(name) && !line.contains('\n') && line.len() < 1000, "{line}");
            errors += 1;
        }
    }
    fs::write(path, bytes).unwrap();
    assert!(errors >= refused, "only {errors} of {all} variants of {name} were refused");
    assert!(read().is_ok(), "the whole file is read");
}
