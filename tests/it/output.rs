//! Standard output that cannot be written: a full disk is an error, a reader that left is none.

use std::fs::File;
use std::process::Stdio;

use crate::support::demo;
use crate::support::process::Running;
use crate::support::sandbox::Sandbox;

/// A project with traces and a pending snapshot, and a model in the hub's cache.
fn project() -> Sandbox {
    let sandbox = demo::session();
    let model = ".cache/huggingface/hub/models--org--tiny";
    sandbox.write_home(&format!("{model}/refs/main"), "1");
    sandbox.write_home(&format!("{model}/snapshots/1/config.json"), "{}");
    let pending = "---\nsource: x\n---\n{\"stop_reason\": null, \"tool_use\": []}\n";
    sandbox.write("snapshots/demo__001.snap.new", pending);
    sandbox
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
        let ran = Running::start_unheard(project().anyclaude(arguments).stdout(full).stderr(Stdio::piped())).end();
        let line = "error: cannot write to standard output: No space left on device (os error 28)\n";
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(3), line), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_left_is_none() {
    for arguments in COMMANDS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let left = Running::start_unheard(project().anyclaude(arguments).stdout(writer).stderr(Stdio::piped())).end();
        let read = Running::start_unheard(project().anyclaude(arguments).stdout(Stdio::null()).stderr(Stdio::piped())).end();
        let lines = |text: &str| text.lines().count();
        assert_eq!((left.code, lines(&left.stderr)), (read.code, lines(&read.stderr)), "{arguments:?}: {}", left.stderr);
    }
}
