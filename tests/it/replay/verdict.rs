//! What is as accepted, what is not, and what is written of it.

use serde_json::json;

use super::{accepted, healthy, replay, shown};
use crate::support::demo::{session, write_trace};
use crate::support::process::run;
use crate::support::replay_backend::{Flaw, ReplayBackend};
use crate::support::sandbox::portable;

#[test]
fn replay_exits_0_when_everything_is_as_accepted() {
    let server = healthy();
    let sandbox = accepted(&server);
    insta::assert_snapshot!(shown(&replay(&sandbox, &server, &[]).exits(0)), @"
    Replaying 2 traces × cold, warm, cached against http://127.0.0.1:[port] (model scripted)
         PASS demo/001  Read                  cold [time]  warm [time]  cached [time]
         PASS demo/002  (no tool)             cold [time]  warm [time]  cached [time]

     Fidelity as recorded: same tools 2 of 2 (100.0%) (the first tool was forced), same arguments 2 of 2 (100.0%)
      Summary 2 traces: 2 as accepted, 1 skipped (not a request for a message)
    ");
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap", "demo__002.snap"]);
}

#[test]
fn a_server_without_cache_control_is_salted_and_the_report_says_so() {
    let server = ReplayBackend::without_cache_control(Flaw::None);
    let sandbox = accepted(&server);
    // The second replay finds the first one's prompts cached, salts or not.
    insta::assert_snapshot!(shown(&replay(&sandbox, &server, &["--repeat", "2"]).exits(0)), @"
       Replaying 2 traces × cold, warm, cached × 2 against http://127.0.0.1:[port] (model as requested)
            PASS demo/001  Read                  cold [time]  warm [time]  cached [time]
            PASS demo/002  (no tool)             cold [time]  warm [time]  cached [time]

    The backend offers no cache control: cold and warm were made by salting the prompt's start; the tokens that its chat template puts before that stay cached.

        Fidelity as recorded: same tools 2 of 2 (100.0%) (the first tool was forced), same arguments 2 of 2 (100.0%)
         Summary 2 traces: 2 as accepted, 1 skipped (not a request for a message)
    ");
}

#[test]
fn requests_are_greedy_capped_streamed_and_force_the_recorded_tool() {
    let server = healthy();
    replay(&session(), &server, &["--filter", "demo/001", "--max-tokens", "99"]).exits(1);
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    for request in requests {
        let body = serde_json::to_value(&request).unwrap();
        assert_eq!(body["temperature"], 0.0);
        assert_eq!(body["max_tokens"], 99);
        assert_eq!(body["stream"], true);
        assert_eq!(body["tool_choice"]["name"], "Read");
        assert_eq!(body["model"], "claude-opus");
        assert_eq!(body.get("thinking"), None);
    }
}

/// Anthropic refuses the fields that a beta brings, unless its name is sent.
#[test]
fn the_betas_that_were_recorded_are_sent_again() {
    let server = healthy();
    let sandbox = session();
    replay(&sandbox, &server, &["--phases", "cold", "--filter", "002"]).exits(1);
    assert_eq!(server.betas(), "");
    write_trace(&sandbox, 1, &[("/request/headers", json!({"anthropic-beta": "effort-1, tools-2"}))]);
    write_trace(&sandbox, 2, &[("/request/headers", json!({"anthropic-beta": "tools-2,more-3"}))]);
    replay(&sandbox, &server, &["--phases", "cold"]).exits(1);
    assert_eq!(server.betas(), "effort-1,tools-2,more-3");
}

#[test]
fn with_tool_choice_auto_the_model_decides_and_fidelity_tells() {
    let server = healthy();
    let ran = replay(&session(), &server, &["--tool-choice", "auto", "--model", "other", "--filter", "001"]).exits(1);
    insta::assert_snapshot!(shown(&ran), @"
    Replaying 1 trace × cold, warm, cached against http://127.0.0.1:[port] (model other)
          NEW demo/001  Bash                  cold [time]  warm [time]  cached [time]

     Fidelity as recorded: same tools 0 of 1 (0.0%), same arguments 0 of 1 (0.0%)
      Summary 1 trace: 0 as accepted, 1 new
         Next run `anyclaude review` to accept or reject 1 pending snapshot
    ");
    assert!(server.requests().iter().all(|request| request.model == "other"));
}

#[test]
fn replay_exits_1_when_a_tool_name_changed_and_shows_that_line() {
    let server = healthy();
    let sandbox = accepted(&server);
    let snapshot = sandbox.read("snapshots/demo__001.snap");
    sandbox.write("snapshots/demo__001.snap", snapshot.replace(r#""name": "Read""#, r#""name": "Write""#));
    insta::assert_snapshot!(shown(&replay(&sandbox, &server, &[]).exits(1)), @r#"
    Replaying 2 traces × cold, warm, cached against http://127.0.0.1:[port] (model scripted)
      CHANGED demo/001  Read                  cold [time]  warm [time]  cached [time]
         PASS demo/002  (no tool)             cold [time]  warm [time]  cached [time]

      CHANGED demo/001  Read                  cold [time]  warm [time]  cached [time]
     tool-renamed: tool_use[0].name: "Write" is accepted, "Read" came
     --- snapshots/demo__001.snap (accepted)
     +++ snapshots/demo__001.snap.new (this replay)
        2    2 │    "stop_reason": "tool_use",
        3    3 │    "tool_use": [
        4    4 │      {
        5      │ -      "name": "Write",
             5 │ +      "name": "Read",
        6    6 │        "input": {
        7    7 │          "file_path": "hello.txt"
        8    8 │        }

     Fidelity as recorded: same tools 2 of 2 (100.0%) (the first tool was forced), same arguments 2 of 2 (100.0%)
      Summary 2 traces: 1 as accepted, 1 changed, 1 skipped (not a request for a message)
         Next run `anyclaude review` to accept or reject 1 pending snapshot
    "#);
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap", "demo__001.snap.new", "demo__002.snap"]);
    // Where it is as accepted again, the pending snapshot is no longer true.
    sandbox.write("snapshots/demo__001.snap", snapshot);
    replay(&sandbox, &server, &[]).exits(0);
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap", "demo__002.snap"]);
}

#[test]
fn changed_words_are_emphasised_where_colours_are_wanted() {
    let server = healthy();
    let sandbox = accepted(&server);
    let snapshot = sandbox.read("snapshots/demo__001.snap");
    sandbox.write("snapshots/demo__001.snap", snapshot.replace("hello.txt\"", "hallo.txt\""));
    let mut command = sandbox.anyclaude(&["replay", "--backend", &server.url, "--check"]);
    let ran = run(command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1")).exits(1);
    // Red, bold, underlined: only the word that changed.
    for word in ["\u{1b}[31m\u{1b}[1m\u{1b}[4mhallo", "\u{1b}[32m\u{1b}[1m\u{1b}[4mhello"] {
        assert!(ran.stdout.contains(word), "{ran:?}");
    }
}

#[test]
fn a_trace_without_snapshot_waits_for_review() {
    let server = healthy();
    let sandbox = session();
    insta::assert_snapshot!(shown(&replay(&sandbox, &server, &[]).exits(1)), @"
    Replaying 2 traces × cold, warm, cached against http://127.0.0.1:[port] (model scripted)
          NEW demo/001  Read                  cold [time]  warm [time]  cached [time]
          NEW demo/002  (no tool)             cold [time]  warm [time]  cached [time]

     Fidelity as recorded: same tools 2 of 2 (100.0%) (the first tool was forced), same arguments 2 of 2 (100.0%)
      Summary 2 traces: 0 as accepted, 2 new, 1 skipped (not a request for a message)
         Next run `anyclaude review` to accept or reject 2 pending snapshots
    ");
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap.new", "demo__002.snap.new"]);
    insta::assert_snapshot!(sandbox.read("snapshots/demo__001.snap.new"), @r#"
    ---
    source: anyclaude replay
    description: Please read hello.txt
    expression: tool_choice recorded, max_tokens 256
    info:
      model: scripted
      tool_format: messages
      prompt_tokens: 206
    input_file: traces/demo/001.json
    ---
    {
      "stop_reason": "tool_use",
      "tool_use": [
        {
          "name": "Read",
          "input": {
            "file_path": "hello.txt"
          }
        }
      ]
    }
    "#);
    // Once accepted, only what review needed is gone.
    sandbox.run(&["review", "--accept"]).exits(0);
    assert!(!sandbox.read("snapshots/demo__001.snap").contains("expression"));
    replay(&sandbox, &server, &[]).exits(0);
}

#[test]
fn in_ci_and_under_check_nothing_is_written() {
    let server = healthy();
    let sandbox = session();
    let in_ci = |more: &[&str]| {
        let mut command = sandbox.anyclaude(&[&["replay", "--backend", &server.url], more].concat());
        run(command.env("CI", "true"))
    };
    insta::assert_snapshot!(shown(&in_ci(&[]).exits(1)), @"
    Replaying 2 traces × cold, warm, cached against http://127.0.0.1:[port] (model scripted)
          NEW demo/001  Read                  cold [time]  warm [time]  cached [time]
          NEW demo/002  (no tool)             cold [time]  warm [time]  cached [time]

     Fidelity as recorded: same tools 2 of 2 (100.0%) (the first tool was forced), same arguments 2 of 2 (100.0%)
      Summary 2 traces: 0 as accepted, 2 new, 1 skipped (not a request for a message)
         Next replay on your machine without --check, so that outcomes wait for review; run the `anyclaude review` that it names, commit what you accept
    ");
    replay(&sandbox, &server, &["--check"]).exits(1);
    assert_eq!(sandbox.files("snapshots"), [""; 0]);
    insta::assert_snapshot!(in_ci(&["--update"]).refusal(), @"exit 2: error: --update with CI set: accepting is for people; unset CI to accept on purpose");
}

#[test]
fn different_blocks_in_different_phases_are_a_cache_failure() {
    let sandbox = accepted(&healthy());
    let server = ReplayBackend::with_cache_control(Flaw::WrongWhenCached);
    insta::assert_snapshot!(shown(&replay(&sandbox, &server, &["--phases", "cold,cached"]).exits(1)), @r#"
    Replaying 2 traces × cold, cached against http://127.0.0.1:[port] (model scripted)
        CACHE demo/001  Read                  cold [time]  cached [time]
         PASS demo/002  (no tool)             cold [time]  cached [time]

        CACHE demo/001  Read                  cold [time]  cached [time]
     phases-differ: the cache, or chance: at least two repeats of each phase can tell
     --- cold, repeat 1
     +++ cached, repeat 1
        4    4 │      {
        5    5 │        "name": "Read",
        6    6 │        "input": {
        7      │ -        "file_path": "hello.txt"
             7 │ +        "file_path": "wrong.txt"
        8    8 │        }
        9    9 │      }
       10   10 │    ]

     Fidelity as recorded: same tools 2 of 2 (100.0%) (the first tool was forced), same arguments 2 of 2 (100.0%)
      Summary 2 traces: 1 as accepted, 1 cache failure, 1 skipped (not a request for a message)
         Next fix the backend's cache: outcomes on which the phases disagree were not written for review
    "#);
    // Even if asked to, nothing is accepted from phases that disagree.
    let empty = session();
    replay(&empty, &server, &["--phases", "cold,cached", "--update", "--filter", "001"]).exits(1);
    assert_eq!(empty.files("snapshots"), [""; 0]);
}

#[test]
fn repeats_must_agree_too() {
    let server = ReplayBackend::with_cache_control(Flaw::Fickle);
    let ran = replay(&session(), &server, &["--phases", "cold", "--repeat", "2", "--filter", "001"]).exits(1);
    insta::assert_snapshot!(shown(&ran), @r#"
    Replaying 1 trace × cold × 2 against http://127.0.0.1:[port] (model scripted)
        FLAKY demo/001  Read                  cold [time]  flaky, 1/2

        FLAKY demo/001  Read                  cold [time]  flaky, 1/2
     flaky: repeats of cold differ: 1/2 of all measurements agree; whether the cache is right is undecided
     --- cold, repeat 1
     +++ cold, repeat 2
        4    4 │      {
        5    5 │        "name": "Read",
        6    6 │        "input": {
        7      │ -        "file_path": "hello.txt"
             7 │ +        "file_path": "wrong.txt"
        8    8 │        }
        9    9 │      }
       10   10 │    ]

     Fidelity as recorded: same tools 1 of 1 (100.0%) (the first tool was forced), same arguments 1 of 1 (100.0%)
      Summary 1 trace: 0 as accepted, 1 flaky
         Next find out why one request has several answers (--flaky pass accepts what most of them say)
    "#);
}

#[test]
fn a_snapshot_whose_trace_is_gone_fails_a_replay_of_all() {
    let server = healthy();
    let sandbox = accepted(&server);
    std::fs::remove_file(sandbox.path("traces/demo/002.json")).unwrap();
    let ran = replay(&sandbox, &server, &["--check", "--junit", "out/replay.xml"]).exits(1);
    assert_eq!(ran.stderr, "warning: snapshots/demo__002.snap: its trace is gone, so nothing tests it\n");
    insta::assert_snapshot!(shown(&ran), @"
    Replaying 1 trace × cold, warm, cached against http://127.0.0.1:[port] (model scripted)
         PASS demo/001  Read                  cold [time]  warm [time]  cached [time]

     Fidelity as recorded: same tools 1 of 1 (100.0%) (the first tool was forced), same arguments 1 of 1 (100.0%)
      Summary 1 trace: 1 as accepted, 1 snapshot without a trace, 1 skipped (not a request for a message)
         Next bring back the traces of the snapshots that have none, or delete these snapshots
    ");
    insta::assert_snapshot!("junit", without_times(&sandbox.read("out/replay.xml")));
    replay(&sandbox, &server, &["--check", "--filter", "demo/001"]).exits(0);
    std::fs::remove_file(sandbox.path("snapshots/demo__002.snap")).unwrap();
    replay(&sandbox, &server, &["--check"]).exits(0);
}

/// JUnit XML without what is different each time.
fn without_times(xml: &str) -> String {
    let times = regex::Regex::new(r#"time="[0-9.]+""#).unwrap();
    portable(&times.replace_all(xml, r#"time="[time]""#))
}
