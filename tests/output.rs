//! Standard output that cannot be written: a full disk is an error, a reader that left is none.
#![cfg(target_os = "linux")]

#[path = "support/launched.rs"]
mod launched;
#[path = "support/workspace.rs"]
mod workspace;

use std::fs::{self, File};
use std::process::Stdio;

use launched::{Place, stderr};
use workspace::Workspace;

/// A project with traces, snapshots, and a model in the hub's cache.
fn place() -> Place {
    let place = Place::new();
    let traces = Workspace::with_traces();
    fs::create_dir_all(place.path("traces/demo")).unwrap();
    for name in traces.files("traces/demo") {
        fs::copy(traces.path("traces/demo").join(&name), place.path("traces/demo").join(&name)).unwrap();
    }
    let model = place.home.path().join(".cache/huggingface/hub/models--org--tiny");
    fs::create_dir_all(model.join("refs")).unwrap();
    fs::create_dir_all(model.join("snapshots/1")).unwrap();
    fs::write(model.join("refs/main"), "1").unwrap();
    fs::create_dir(place.path("snapshots")).unwrap();
    fs::write(place.path("snapshots/demo__001.snap.new"), "---\nsource: x\n---\n{\"stop_reason\": null, \"tool_use\": []}\n")
        .unwrap();
    place
}

/// Commands that print something on their own.
const COMMANDS: [&[&str]; 18] = [
    &["--help"],
    &["--version"],
    &["replay", "--help"],
    &["check", "cache", "--help"],
    &["config", "show"],
    &["config", "show", "--json"],
    &["config", "schema"],
    &["doctor", "--model", "."],
    &["model", "ls"],
    &["review", "--accept"],
    &["schema", "diff", "traces", "traces"],
    &["trace", "ls"],
    &["trace", "ls", "--json"],
    &["trace", "recover"],
    &["trace", "scrub", "--out", "shared", "traces"],
    &["trace", "show", "traces"],
    &["trace", "stats"],
    &["trace", "validate", "traces"],
];

#[test]
fn a_full_disk_is_an_error() {
    for arguments in COMMANDS {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = place().anyclaude(arguments).stdout(full).output().unwrap();
        let line = "error: cannot write to standard output: No space left on device (os error 28)\n";
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(3), line), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_left_is_none() {
    for arguments in COMMANDS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let place = place();
        let output = place.anyclaude(arguments).stdout(writer).output().unwrap();
        let read = place.anyclaude(arguments).stdout(Stdio::null()).output().unwrap();
        assert_eq!((stderr(&output), output.status.code()), (stderr(&read), read.status.code()), "{arguments:?}");
    }
}
