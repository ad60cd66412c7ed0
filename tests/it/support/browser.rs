//! A browser that looks at the pages that we write.

use std::ffi::OsStr;
use std::path::PathBuf;

use serde_json::Value;

use super::clients::installed;
use super::process::run;
use super::sandbox::{Sandbox, repository};

/// What Chromium is called, on Linux by its name on PATH.
const NAMES: [&str; 6] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// What a script of tests/browser saw with these arguments, of which the first is the page. `None` where there is no browser,
/// which in CI is a failure.
#[track_caller]
pub(crate) fn seen<A: AsRef<OsStr>>(script: &str, arguments: &[A]) -> Option<Value> {
    let Some(browser) = browser() else {
        assert!(std::env::var_os("CI").is_none(), "no Chromium on this machine: run `make browser`");
        eprintln!("not tested, because there is no Chromium on this machine: run `make browser`");
        return None;
    };
    let sandbox = Sandbox::new();
    let mut node = sandbox.program("node");
    node.env("NODE_PATH", installed("node_modules")).arg(repository("tests/browser").join(script)).args(arguments).arg(browser);
    Some(serde_json::from_str(&run(&mut node).exits(0).stdout).unwrap())
}

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    NAMES.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()))
}
