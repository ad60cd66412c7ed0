//! `anyclaude review` as its users run it: keys through a pipe and through a terminal.

#[path = "support/workspace.rs"]
mod workspace;

use std::io::Write;
use std::process::{Command, Stdio};

use anyclaude::snapshot::{ExchangeId, Info, Metadata, Outcome, Snapshot, Store, ToolUse};
use anyclaude::wire::StopReason;
use serde_json::json;

use workspace::{Ran, Workspace, changed_lines};

fn snapshot(seq: u32, tool: &str) -> Snapshot {
    let call = ToolUse { name: tool.into(), input: json!({"file_path": "hello.txt"}) };
    Snapshot {
        metadata: Metadata {
            source: Some("anyclaude replay".into()),
            description: Some("Please read hello.txt".into()),
            expression: Some("tool_choice recorded, max_tokens 256".into()),
            info: Some(Info { model: "tiny".into(), tool_format: "hermes".into() }),
            input_file: Some(format!("traces/demo/{seq:03}.json")),
        },
        outcome: Outcome { stop_reason: Some(StopReason::ToolUse), tool_use: vec![call] },
    }
}

/// 001 is pending over an accepted one, 002 and 003 are new.
fn workspace() -> Workspace {
    let workspace = Workspace::empty();
    let store = Store::new(workspace.path("snapshots"));
    let id = |seq| ExchangeId::new("demo", seq).unwrap();
    store.write_accepted(&id(1), snapshot(1, "Write")).unwrap();
    for seq in 1..=3 {
        workspace.write_trace(seq, &[]);
        store.write_pending(&id(seq), &snapshot(seq, "Read")).unwrap();
    }
    workspace
}

fn review(workspace: &Workspace, keys: &str) -> Ran {
    let mut command = workspace.command(&["review"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(keys.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn accept_reject_and_skip_through_a_pipe() {
    let workspace = workspace();
    let ran = review(&workspace, "a\nreject\ns\n").exits(0).says(&[
        "[1 of 3] snapshots/demo__001.snap.new",
        "[3 of 3] snapshots/demo__003.snap.new",
        "accepted snapshots/demo__001.snap",
        "rejected snapshots/demo__002.snap.new",
        "Reviewed: 1 accepted, 1 rejected, 1 still pending",
    ]);
    assert_eq!(changed_lines(&ran.stdout)[..2], [r#"-      "name": "Write","#, r#"+      "name": "Read","#]);
    assert_eq!(workspace.files("snapshots"), ["demo__001.snap", "demo__003.snap.new"]);
    assert_eq!(workspace.read("snapshots/demo__001.snap"), {
        let Snapshot { metadata, outcome } = snapshot(1, "Read");
        Snapshot { metadata: metadata.trimmed(), outcome }.to_text()
    });
}

#[test]
fn a_reviewer_sees_the_diff_the_user_turn_and_the_recorded_answer() {
    let ran = review(&workspace(), "q\n").exits(0);
    insta::assert_snapshot!(ran.stdout, @r#"

    [1 of 3] snapshots/demo__001.snap.new
         model tiny, tool calls as hermes
        replay tool_choice recorded, max_tokens 256
         trace traces/demo/001.json
          user Please read hello.txt
      recorded Read {"file_path":"hello.txt"}

    --- snapshots/demo__001.snap (accepted)
    +++ snapshots/demo__001.snap.new (pending)
       2    2 │    "stop_reason": "tool_use",
       3    3 │    "tool_use": [
       4    4 │      {
       5      │ -      "name": "Write",
            5 │ +      "name": "Read",
       6    6 │        "input": {
       7    7 │          "file_path": "hello.txt"
       8    8 │        }

    [a]ccept, [r]eject, [s]kip, [q]uit? 

    Reviewed: 0 accepted, 0 rejected, 3 still pending
    "#);
}

#[test]
fn other_keys_are_asked_again_and_the_end_of_input_leaves_the_rest() {
    let workspace = workspace();
    review(&workspace, "what\nA\n").exits(0).says(&["\"what\" is none of a, r, s, q", "1 accepted, 0 rejected, 2 still pending"]);
    assert_eq!(workspace.files("snapshots"), ["demo__001.snap", "demo__002.snap.new", "demo__003.snap.new"]);
}

#[test]
fn all_at_once_without_asking() {
    let accepting = workspace();
    accepting.run(&["review", "--accept"]).exits(0).says(&["3 accepted"]);
    assert_eq!(accepting.files("snapshots"), ["demo__001.snap", "demo__002.snap", "demo__003.snap"]);
    accepting.run(&["review"]).exits(0).says(&["Nothing pending in snapshots."]);
    let rejecting = workspace();
    rejecting.run(&["review", "--reject"]).exits(0).says(&["3 rejected"]);
    assert_eq!(rejecting.files("snapshots"), ["demo__001.snap"]);
    rejecting.run(&["review", "--accept", "--reject"]).exits(2);
}

#[test]
fn in_ci_nothing_is_accepted_or_rejected_without_a_person() {
    let workspace = workspace();
    for option in ["--accept", "--reject"] {
        let ran: Ran = workspace.command(&["review", option]).env("CI", "true").output().unwrap().into();
        ran.exits(2).fails_with(&["review with CI set", "unset CI"]);
    }
    assert_eq!(workspace.files("snapshots").len(), 4);
}

#[test]
fn a_missing_trace_does_not_stop_a_review_and_is_told() {
    let workspace = workspace();
    std::fs::remove_file(workspace.path("traces/demo/001.json")).unwrap();
    review(&workspace, "s\ns\ns\n").exits(0).says(&[
        "traces/demo/001.json",
        "Snapshots whose trace is gone",
        "  snapshots/demo__001.snap\n",
    ]);
}

#[test]
fn a_broken_pending_file_exits_2_and_is_named() {
    let workspace = workspace();
    workspace.write("snapshots/demo__001.snap.new", "nonsense");
    review(&workspace, "a\n").exits(2).fails_with(&["snapshots/demo__001.snap.new", "a snapshot starts with a line of ---"]);
}

/// Single keys, no Enter: Python's pty plays the terminal.
#[test]
fn single_keys_on_a_terminal() {
    let workspace = workspace();
    let script = "
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], [sys.argv[1], 'review'])
output, keys = b'', [b's', b'r', b'a']
while True:
    try:
        read = os.read(terminal, 4096)
    except OSError:
        break
    if not read:
        break
    output += read
    while keys and output.count(b'uit? ') > 3 - len(keys):
        os.write(terminal, keys.pop(0))
sys.stdout.buffer.write(output)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";
    let mut python = Command::new("python3");
    python.args(["-c", script, env!("CARGO_BIN_EXE_anyclaude")]).current_dir(workspace.path("")).env("NO_COLOR", "1");
    let ran: Ran = python.output().expect("python3 is needed for this test").into();
    ran.exits(0).says(&["Reviewed: 1 accepted, 1 rejected, 1 still pending"]);
    assert_eq!(workspace.files("snapshots"), ["demo__001.snap", "demo__001.snap.new", "demo__003.snap"]);
}
