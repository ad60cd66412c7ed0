//! The examples do what they say.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::support::demo::session;
use crate::support::http::post;
use crate::support::output::line_of;
use crate::support::process::{Running, run};
use crate::support::replay_backend::{Flaw, ReplayBackend};
use crate::support::sandbox::{Sandbox, portable};

/// A built example. Cargo builds them before it runs the tests, unless it is told to build these tests alone.
fn example(sandbox: &Sandbox, name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let program: PathBuf = tests.parent().unwrap().with_file_name("examples").join(name);
    assert!(program.exists(), "{} is missing: cargo build --examples", program.display());
    sandbox.program(program)
}

#[test]
fn an_own_backend_is_served_and_recorded() {
    let sandbox = Sandbox::new();
    let mut backend = Running::start(example(&sandbox, "own_backend").arg("0"));
    let upstream = backend.prints("listening on ").replace("listening on ", "");
    let mut recorder = Running::start(example(&sandbox, "record").args([&upstream, "traces"]));
    let line = recorder.prints("recording ");
    let address = line.split(' ').nth(1).unwrap();

    let messages = json!([{"role": "user", "content": "Hello there"}]);
    let body = json!({"model": "m", "max_tokens": 9, "stream": true, "messages": messages});
    let answer = post(&format!("{address}/v1/messages"), &body).succeeds();
    assert!(answer.text.contains("1 messages with 2 words came."), "{answer:?}");
    recorder.signal("INT");
    insta::assert_snapshot!(portable(&recorder.end().exits(0).stdout), @"
    recording http://127.0.0.1:[port] before http://127.0.0.1:[port]
    POST /v1/messages 200
    traces/example/0001.json: first token after [time], called []
    ");
    backend.signal("INT");
    backend.end().exits(0);
}

#[test]
fn a_replay_in_a_test_passes_and_fails_as_the_command_does() {
    let (sandbox, server) = (session(), ReplayBackend::with_cache_control(Flaw::None));
    sandbox.run(&["replay", "--backend", &server.url, "--update"]).exits(0);
    let replayed = || run(example(&sandbox, "replay_in_a_test").args([&server.url, "traces", "snapshots"]));
    insta::assert_snapshot!(replayed().exits(0).stdout, @"2 traces are as accepted");
    let snapshot = sandbox.read("snapshots/demo__001.snap");
    sandbox.write("snapshots/demo__001.snap", snapshot.replace("\"Read\"", "\"Write\""));
    let failed = replayed();
    assert_ne!(failed.code, Some(0));
    insta::assert_snapshot!(line_of(&failed.stderr, "demo/001: "), @r#"demo/001: Changed { accepted: Outcome { stop_reason: Some(ToolUse), tool_use: [ToolUse { name: "Write", input: Object {"file_path": String("hello.txt")} }] }, found: Outcome { stop_reason: Some(ToolUse), tool_use: [ToolUse { name: "Read", input: Object {"file_path": String("hello.txt")} }] } }"#);
}
