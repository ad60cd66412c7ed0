//! `anyclaude review` as its users run it: keys through a pipe and through a terminal.

mod by_name;
mod full_screen;

use std::process::Stdio;

use anyclaude::snapshot::{ExchangeId, Info, Metadata, Outcome, Snapshot, Store, ToolUse};
use anyclaude::wire::StopReason;
use serde_json::json;

use crate::support::demo::write_trace;
use crate::support::output::line_of;
use crate::support::process::{Ran, Running, run};
use crate::support::sandbox::Sandbox;
use crate::support::terminal::python;

fn snapshot(seq: u32, tool: &str) -> Snapshot {
    let call = ToolUse { name: tool.into(), input: json!({"file_path": "hello.txt"}) };
    Snapshot {
        metadata: Metadata {
            source: Some("anyclaude replay".into()),
            description: Some("Please read hello.txt".into()),
            expression: Some("tool_choice recorded, max_tokens 256".into()),
            info: Some(Info { model: "tiny".into(), tool_format: "hermes".into(), ..Info::default() }),
            input_file: Some(format!("traces/demo/{seq:03}.json")),
        },
        outcome: Outcome { stop_reason: Some(StopReason::ToolUse), tool_use: vec![call] },
        alternatives: Vec::new(),
    }
}

/// 001 is pending over an accepted one, 002 and 003 are new.
fn pending() -> Sandbox {
    let sandbox = Sandbox::new();
    let store = Store::new(sandbox.path("snapshots"));
    let id = |seq| ExchangeId::new("demo", &format!("{seq:03}")).unwrap();
    store.write_accepted(&id(1), snapshot(1, "Write")).unwrap();
    for seq in 1..=3 {
        write_trace(&sandbox, seq, &[]);
        store.write_pending(&id(seq), &snapshot(seq, "Read")).unwrap();
    }
    sandbox
}

fn review(sandbox: &Sandbox, keys: &str) -> Ran {
    let mut running = Running::start(sandbox.anyclaude(&["review"]).stdin(Stdio::piped()));
    running.write(keys);
    running.end()
}

#[test]
fn accept_reject_and_skip_through_a_pipe() {
    let sandbox = pending();
    insta::assert_snapshot!(review(&sandbox, "a\nreject\ns\n").exits(0).stdout, @r#"

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

    [a]ccept, [+] accept beside the accepted one, [r]eject, [s]kip, [q]uit? 
    accepted snapshots/demo__001.snap

    [2 of 3] snapshots/demo__002.snap.new
         model tiny, tool calls as hermes
        replay tool_choice recorded, max_tokens 256
         trace traces/demo/002.json
          user Please read hello.txt
      recorded Read {"file_path":"hello.txt"}

    --- nothing accepted yet
    +++ snapshots/demo__002.snap.new (pending)
            1 │ +{
            2 │ +  "stop_reason": "tool_use",
            3 │ +  "tool_use": [
            4 │ +    {
            5 │ +      "name": "Read",
            6 │ +      "input": {
            7 │ +        "file_path": "hello.txt"
            8 │ +      }
            9 │ +    }
           10 │ +  ]
           11 │ +}

    [a]ccept, [+] accept beside the accepted one, [r]eject, [s]kip, [q]uit? 
    rejected snapshots/demo__002.snap.new

    [3 of 3] snapshots/demo__003.snap.new
         model tiny, tool calls as hermes
        replay tool_choice recorded, max_tokens 256
         trace traces/demo/003.json
          user Please read hello.txt
      recorded Read {"file_path":"hello.txt"}

    --- nothing accepted yet
    +++ snapshots/demo__003.snap.new (pending)
            1 │ +{
            2 │ +  "stop_reason": "tool_use",
            3 │ +  "tool_use": [
            4 │ +    {
            5 │ +      "name": "Read",
            6 │ +      "input": {
            7 │ +        "file_path": "hello.txt"
            8 │ +      }
            9 │ +    }
           10 │ +  ]
           11 │ +}

    [a]ccept, [+] accept beside the accepted one, [r]eject, [s]kip, [q]uit? 

    Reviewed: 1 accepted, 1 rejected, 1 still pending
    "#);
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap", "demo__003.snap.new"]);
    assert_eq!(sandbox.read("snapshots/demo__001.snap"), {
        let Snapshot { metadata, outcome, alternatives } = snapshot(1, "Read");
        Snapshot { metadata: metadata.trimmed(), outcome, alternatives }.to_text()
    });
}

#[test]
fn a_reviewer_sees_the_diff_the_user_turn_and_the_recorded_answer() {
    insta::assert_snapshot!(review(&pending(), "q\n").exits(0).stdout, @r#"

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

    [a]ccept, [+] accept beside the accepted one, [r]eject, [s]kip, [q]uit? 

    Reviewed: 0 accepted, 0 rejected, 3 still pending
    "#);
}

#[test]
fn other_keys_are_asked_again_and_the_end_of_input_leaves_the_rest() {
    let sandbox = pending();
    let ran = review(&sandbox, "what\nA\n").exits(0);
    insta::assert_snapshot!(line_of(&ran.stdout, "\"what\""), @r#""what" is none of a, +, r, s, q."#);
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap", "demo__002.snap.new", "demo__003.snap.new"]);
}

#[test]
fn all_at_once_without_asking() {
    let accepting = pending();
    accepting.run(&["review", "--accept"]).exits(0);
    assert_eq!(accepting.files("snapshots"), ["demo__001.snap", "demo__002.snap", "demo__003.snap"]);
    let nothing = accepting.run(&["review"]).exits(0);
    assert_eq!(nothing.stdout, "Nothing pending in snapshots.\n");
    let rejecting = pending();
    rejecting.run(&["review", "--reject"]).exits(0);
    assert_eq!(rejecting.files("snapshots"), ["demo__001.snap"]);
    rejecting.run(&["review", "--accept", "--reject"]).exits(2);
}

#[test]
fn in_ci_nothing_is_accepted_or_rejected_without_a_person() {
    let sandbox = pending();
    for option in ["--accept", "--reject"] {
        let ran = run(sandbox.anyclaude(&["review", option]).env("CI", "true"));
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.refusal(), @"exit 2: error: review with CI set: accepting and rejecting is for people; unset CI to do it on purpose");
        }
    }
    let mut running = Running::start(sandbox.anyclaude(&["review"]).env("CI", "true").stdin(Stdio::piped()));
    running.write("a\n");
    insta::assert_snapshot!(running.end().refusal(), @"exit 2: error: review with CI set: accepting and rejecting is for people; unset CI to do it on purpose");
    assert_eq!(sandbox.files("snapshots").len(), 4);
}

#[test]
fn a_missing_trace_does_not_stop_a_review_and_is_told() {
    let sandbox = pending();
    std::fs::remove_file(sandbox.path("traces/demo/001.json")).unwrap();
    insta::assert_snapshot!(review(&sandbox, "s\ns\ns\n").exits(0).stdout, @r#"

    [1 of 3] snapshots/demo__001.snap.new
         model tiny, tool calls as hermes
        replay tool_choice recorded, max_tokens 256
         trace traces/demo/001.json: no such file or folder

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

    [a]ccept, [+] accept beside the accepted one, [r]eject, [s]kip, [q]uit? 

    [2 of 3] snapshots/demo__002.snap.new
         model tiny, tool calls as hermes
        replay tool_choice recorded, max_tokens 256
         trace traces/demo/002.json
          user Please read hello.txt
      recorded Read {"file_path":"hello.txt"}

    --- nothing accepted yet
    +++ snapshots/demo__002.snap.new (pending)
            1 │ +{
            2 │ +  "stop_reason": "tool_use",
            3 │ +  "tool_use": [
            4 │ +    {
            5 │ +      "name": "Read",
            6 │ +      "input": {
            7 │ +        "file_path": "hello.txt"
            8 │ +      }
            9 │ +    }
           10 │ +  ]
           11 │ +}

    [a]ccept, [+] accept beside the accepted one, [r]eject, [s]kip, [q]uit? 

    [3 of 3] snapshots/demo__003.snap.new
         model tiny, tool calls as hermes
        replay tool_choice recorded, max_tokens 256
         trace traces/demo/003.json
          user Please read hello.txt
      recorded Read {"file_path":"hello.txt"}

    --- nothing accepted yet
    +++ snapshots/demo__003.snap.new (pending)
            1 │ +{
            2 │ +  "stop_reason": "tool_use",
            3 │ +  "tool_use": [
            4 │ +    {
            5 │ +      "name": "Read",
            6 │ +      "input": {
            7 │ +        "file_path": "hello.txt"
            8 │ +      }
            9 │ +    }
           10 │ +  ]
           11 │ +}

    [a]ccept, [+] accept beside the accepted one, [r]eject, [s]kip, [q]uit? 

    Reviewed: 0 accepted, 0 rejected, 3 still pending
    "#);
}

#[test]
fn a_broken_pending_file_is_named_and_the_others_are_reviewed() {
    let sandbox = pending();
    sandbox.write("snapshots/demo__001.snap.new", "nonsense");
    let ran = review(&sandbox, "a\nr\n").exits(2);
    let left = line_of(&ran.stdout, "left ");
    insta::assert_snapshot!(left, @"left snapshots/demo__001.snap.new: a snapshot starts with a line of ---; delete it and replay again, or restore it from version control");
    let reviewed = line_of(&ran.stdout, "Reviewed: ");
    insta::assert_snapshot!(reviewed, @"Reviewed: 1 accepted, 1 rejected, 0 still pending, 1 left as they are");
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap", "demo__001.snap.new", "demo__002.snap"]);
}

#[test]
fn what_changed_since_it_was_shown_is_left() {
    let sandbox = pending();
    let mut running = Running::start(sandbox.anyclaude(&["review"]).stdin(Stdio::piped()));
    running.prints("   8    8");
    snapshot(1, "Bash").write(&sandbox.path("snapshots/demo__001.snap.new")).unwrap();
    running.write("a\na\ns\n");
    let ran = running.end().exits(2);
    let reviewed = line_of(&ran.stdout, "Reviewed: ");
    insta::assert_snapshot!(reviewed, @"Reviewed: 1 accepted, 0 rejected, 1 still pending, 1 left as they are");
    assert!(sandbox.read("snapshots/demo__001.snap").contains("Write"));
    assert!(sandbox.read("snapshots/demo__001.snap.new").contains("Bash"));
}

/// Single keys, no Enter, on a terminal that names no kind: Python's pty plays it.
#[test]
fn single_keys_on_a_terminal() {
    let sandbox = pending();
    let script = "
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], [sys.argv[1], 'review'])
keys = [b's', b'r', b'a']
def answer(output):
    while keys and output.count(b'uit? ') > 3 - len(keys):
        os.write(terminal, keys.pop(0))
sys.stdout.buffer.write(play(terminal, answer))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";
    let ran = run(&mut python(&sandbox, script)).exits(0);
    insta::assert_snapshot!(line_of(&ran.stdout, "Reviewed: "), @"Reviewed: 1 accepted, 1 rejected, 1 still pending");
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap", "demo__001.snap.new", "demo__003.snap"]);
}
