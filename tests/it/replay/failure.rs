//! What ends a replay early, or spoils its figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::{StatusCode, Uri};
use axum::response::Redirect;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{accepted, healthy, replay, shown};
use crate::support::deadline::until;
use crate::support::demo::{session, write_trace};
use crate::support::listen;
use crate::support::output::line_of;
use crate::support::process::{Ran, Running};
use crate::support::replay_backend::{Flaw, ReplayBackend};
use crate::support::sandbox::{Sandbox, portable};

#[test]
fn a_backend_that_is_down_exits_3_and_names_the_address() {
    let ran = session().run(&["replay", "--backend", &listen::nobody()]);
    insta::assert_snapshot!(portable(&ran.refusal()), @"exit 3: error: http://127.0.0.1:[port]: Connection refused (os error [number]); is the server running?");
}

#[test]
fn a_backend_that_fails_exits_3_and_the_other_traces_are_tried() {
    let failed = |flaw| shown(&replay(&session(), &ReplayBackend::with_cache_control(flaw), &["--retries", "0"]).exits(3));
    insta::assert_snapshot!(failed(Flaw::Overloaded), @"
    Replaying 2 traces × cold, warm, cached against http://127.0.0.1:[port] (model scripted)
         FAIL demo/001
         FAIL demo/002

         FAIL demo/001
     overloaded: overloaded_error: try later

         FAIL demo/002
     overloaded: overloaded_error: try later

      Summary 2 traces: 0 as accepted, 2 failed, 1 skipped (not a request for a message)
         Next fix what failed (reasons above) and replay again: its times are left out
    ");
    insta::assert_snapshot!(failed(Flaw::BreaksDown), @"
    Replaying 2 traces × cold, warm, cached against http://127.0.0.1:[port] (model scripted)
         FAIL demo/001
         FAIL demo/002

         FAIL demo/001
     server-error: api_error: out of memory

         FAIL demo/002
     server-error: api_error: out of memory

      Summary 2 traces: 0 as accepted, 2 failed, 1 skipped (not a request for a message)
         Next fix what failed (reasons above) and replay again: its times are left out
    ");
    insta::assert_snapshot!(failed(Flaw::BreaksOff), @"
    Replaying 2 traces × cold, warm, cached against http://127.0.0.1:[port] (model scripted)
         FAIL demo/001
         FAIL demo/002

         FAIL demo/001
     stream-cut: http://127.0.0.1:[port] does not speak the Messages API: the stream ended without message_stop

         FAIL demo/002
     stream-cut: http://127.0.0.1:[port] does not speak the Messages API: the stream ended without message_stop

      Summary 2 traces: 0 as accepted, 2 failed, 1 skipped (not a request for a message)
         Next fix what failed (reasons above) and replay again: its times are left out
    ");
}

#[test]
fn malformed_arguments_are_a_changed_outcome_that_cannot_be_accepted() {
    let server = ReplayBackend::with_cache_control(Flaw::MalformedArguments);
    let sandbox = session();
    // Nothing of it becomes a snapshot, even where everything is to be accepted.
    let ran = replay(&sandbox, &server, &["--update", "--json", "out.json"]).exits(1);
    insta::assert_snapshot!(shown(&ran), @r#"
    Replaying 2 traces × cold, warm, cached against http://127.0.0.1:[port] (model scripted)
    MALFORMED demo/001  Read                  cold [time]  warm [time]  cached [time]
      UPDATED demo/002  (no tool)             cold [time]  warm [time]  cached [time]

    MALFORMED demo/001  Read                  cold [time]  warm [time]  cached [time]
     malformed-arguments: "{\"file_path\":\"hello.txt\"" came: Read was called with what is no JSON object (cold, repeat 1)

     Fidelity as recorded: same tools 2 of 2 (100.0%) (the first tool was forced), same arguments 1 of 2 (50.0%)
      Summary 2 traces: 0 as accepted, 1 updated, 1 with malformed arguments, 1 skipped (not a request for a message)
         Next fix the server's tool calls: outcomes with malformed arguments were not written for review
    "#);
    assert_eq!(sandbox.files("snapshots"), ["demo__002.snap"]);
    let report: Value = serde_json::from_str(&sandbox.read("out.json")).unwrap();
    assert_eq!(report["summary"]["malformed_arguments"], 1);
    assert_eq!(report["cases"][0]["malformed_arguments"]["tool"], "Read");
    // Against an accepted outcome the difference is shown.
    let accepted = accepted(&healthy());
    insta::assert_snapshot!(shown(&replay(&accepted, &server, &["--phases", "cold"]).exits(1)), @r#"
    Replaying 2 traces × cold against http://127.0.0.1:[port] (model scripted)
    MALFORMED demo/001  Read                  cold [time]
         PASS demo/002  (no tool)             cold [time]

    MALFORMED demo/001  Read                  cold [time]
     malformed-arguments: tool_use[0].input: {"file_path":"hello.txt"} is accepted, "{\"file_path\":\"hello.txt\"" came
     --- snapshots/demo__001.snap (accepted)
     +++ this replay
        3    3 │    "tool_use": [
        4    4 │      {
        5    5 │        "name": "Read",
        6      │ -      "input": {
        7      │ -        "file_path": "hello.txt"
        8      │ -      }
             6 │ +      "input": "{\"file_path\":\"hello.txt\""
        9    7 │      }
       10    8 │    ]
       11    9 │  }

     Fidelity as recorded: same tools 2 of 2 (100.0%) (the first tool was forced), same arguments 1 of 2 (50.0%)
      Summary 2 traces: 1 as accepted, 1 with malformed arguments, 1 skipped (not a request for a message)
         Next fix the server's tool calls: outcomes with malformed arguments were not written for review
    "#);
}

#[test]
fn a_backend_that_goes_away_stops_the_replay_and_what_was_measured_is_printed() {
    let server = ReplayBackend::with_cache_control(Flaw::DisconnectsAfterOne);
    let sandbox = session();
    let ran = replay(&sandbox, &server, &["--json", "out.json"]).exits(3);
    insta::assert_snapshot!(shown(&ran), @"
    Replaying 2 traces × cold, warm, cached against http://127.0.0.1:[port] (model scripted)
         FAIL demo/001  Read                  cold [time]

         FAIL demo/001  Read                  cold [time]
     unreachable: http://127.0.0.1:[port]: connection closed before message completed

     Fidelity as recorded: same tools 1 of 1 (100.0%) (the first tool was forced), same arguments 1 of 1 (100.0%)
      Summary 1 trace: 0 as accepted, 1 failed, 1 not run, 1 skipped (not a request for a message)
         Next fix what failed (reasons above) and replay again: its times are left out
    ");
    insta::assert_snapshot!(portable(&ran.refusal()), @"exit 3: error: http://127.0.0.1:[port]: connection closed before message completed; is the server running?");
    assert!(line_of(&ran.stdout, "cold ").contains("TTFT"));
    let report: Value = serde_json::from_str(&sandbox.read("out.json")).unwrap();
    assert_eq!(report["cases"][0]["measurements"][0]["phase"], "cold");
}

#[test]
fn a_phase_that_did_not_happen_exits_3_and_gives_no_number() {
    let mut reasons = Vec::new();
    for (flaw, phases, failed) in
        [(Flaw::NoCache, "cold,cached", "cached"), (Flaw::NoCache, "warm", "warm"), (Flaw::NeverForgets, "cold", "cold")]
    {
        let server = ReplayBackend::with_cache_control(flaw);
        let sandbox = session();
        let more = ["--phases", phases, "--repeat", "2", "--filter", "001", "--json", "out.json"];
        let ran = replay(&sandbox, &server, &more).exits(3);
        reasons.push(line_of(&ran.stdout, &format!("phase-missing: {failed} did not happen")).to_owned());
        let report: Value = serde_json::from_str(&sandbox.read("out.json")).unwrap();
        assert_eq!((&report["cases"][0]["id"], &report["summary"]["phase_failures"]), (&json!("demo/001"), &json!(1)));
        let failed = report["cases"][0]["phase_failures"][0]["phase"].clone();
        let counted = report["latency"].as_array().unwrap().iter().find(|latency| latency["phase"] == failed);
        // NeverForgets is cold once.
        let expected = if flaw == Flaw::NeverForgets { Some(json!(1)) } else { None };
        assert_eq!(counted.map(|latency| latency["ttft"]["count"].clone()), expected);
    }
    insta::assert_snapshot!(reasons.join("\n"), @"
    phase-missing: cached did not happen in repeat 1: 0 of 206 prompt tokens came from the cache, expected some; a backend without a prefix cache has only the phase cold
    phase-missing: warm did not happen in repeat 1: 0 of 206 prompt tokens came from the cache, expected some; a backend without a prefix cache has only the phase cold
    phase-missing: cold did not happen in repeat 2: 205 of 206 prompt tokens came from the cache, expected none
    ");
}

#[test]
fn a_redirect_is_not_followed() {
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = visits.clone();
    let elsewhere = listen::routes(Router::new().fallback(async move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    let target = elsewhere.clone();
    let server = listen::routes(Router::new().fallback(async move |uri: Uri| Redirect::temporary(&format!("{target}{uri}"))));
    let failed = session().run(&["replay", "--backend", &server, "--filter", "001"]).exits(3);
    let reason = shown(&failed).replace(&portable(&server), "[server]");
    insta::assert_snapshot!(reason, @"
    Replaying 1 trace × cold, warm, cached against [server] (model as requested)
         FAIL demo/001

         FAIL demo/001
     server-error: api_error: [server] answered 307 Temporary Redirect: it sends requests on to [server]/v1/messages; give that address

      Summary 1 trace: 0 as accepted, 1 failed
         Next fix what failed (reasons above) and replay again: its times are left out
    ");
    assert_eq!(visits.load(Ordering::Relaxed), 0, "the key and the prompt have left");
}

#[test]
fn an_error_that_quotes_a_key_is_shown_without_it() {
    let key = format!("sk-ant-{}", "api03-Secretive123");
    let error =
        json!({"type": "error", "error": {"type": "authentication_error", "message": format!("invalid x-api-key {key}")}});
    let server = listen::routes(Router::new().fallback(async move || (StatusCode::UNAUTHORIZED, Json(error.clone()))));
    let sandbox = session();
    let failed = sandbox.run(&["replay", "--backend", &server, "--filter", "001", "--json", "out.json"]).exits(3);
    insta::assert_snapshot!(line_of(&failed.stdout, "refused-request: "), @"refused-request: authentication_error: invalid x-api-key [redacted]");
    for text in [&failed.stdout, &failed.stderr, &sandbox.read("out.json")] {
        assert!(!text.contains("Secretive123"), "{text}");
    }
}

#[test]
fn a_request_that_cannot_be_read_fails_the_replay_unless_it_may_be_skipped() {
    let (server, sandbox) = (healthy(), session());
    write_trace(&sandbox, 9, &[("/request/body/messages", json!(7))]);
    let replay = ["replay", "--backend", &server.url, "--phases", "cold", "--filter", "001", "--filter", "009"];
    sandbox.run(&[&replay[..], &["--update"]].concat()).exits(1);
    let failed = sandbox.run(&replay).exits(1);
    let told = |ran: &Ran| format!("{}{}", ran.stderr, line_of(&ran.stdout, "Summary "));
    insta::assert_snapshot!(told(&failed), @"
    warning: traces/demo/009.json: skipped: request.body.messages: invalid type: integer `7`, expected a sequence
    Summary 1 trace: 1 as accepted, 1 unreadable
    ");
    let allowed = sandbox.run(&[&replay[..], &["--allow-skips"]].concat()).exits(0);
    insta::assert_snapshot!(told(&allowed), @"
    warning: traces/demo/009.json: skipped: request.body.messages: invalid type: integer `7`, expected a sequence
    Summary 1 trace: 1 as accepted, 1 skipped (request.body.messages: invalid type: integer `7`, expected a sequence)
    ");
}

#[test]
fn what_a_server_refuses_is_unreadable_before_a_model_sees_it() {
    let (server, sandbox) = (healthy(), Sandbox::new());
    for (number, input) in [(1, json!("{}")), (2, json!(5)), (3, Value::Null)] {
        let call = json!({"type": "tool_use", "id": "t", "name": "Read", "input": input});
        let messages =
            json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": [call]}, {"role": "user", "content": "b"}]);
        write_trace(&sandbox, number, &[("/request/body/messages", messages)]);
    }
    let failed = sandbox.run(&["replay", "--backend", &server.url, "--phases", "cold"]).exits(1);
    insta::assert_snapshot!(failed.stderr, @"
    warning: traces/demo/001.json: skipped: request.body: messages.1.content.0.tool_use.input: Input should be a valid dictionary
    warning: traces/demo/002.json: skipped: request.body: messages.1.content.0.tool_use.input: Input should be a valid dictionary
    warning: traces/demo/003.json: skipped: request.body: messages.1.content.0.tool_use.input: Input should be a valid dictionary
    warning: nothing is replayed: all traces are skipped
    ");
}

#[test]
fn a_call_that_something_follows_was_not_cut_by_a_limit() {
    let call = json!({"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}});
    let block = |index: u64, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let begun = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{\"file_path\": \"hel"}});
    let end = |index: u64| json!({"type": "content_block_stop", "index": index});
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []});
    let replayed = |following: &[Value]| {
        let events = [
            &[json!({"type": "message_start", "message": message}), block(0, call.clone()), begun.clone(), end(0)],
            following,
            &[json!({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}), json!({"type": "message_stop"})],
        ];
        let frame = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
        let stream: String = events.concat().iter().map(frame).collect();
        let server =
            listen::routes(Router::new().fallback(async move || ([("content-type", "text/event-stream")], stream.clone())));
        let ran = session().run(&["replay", "--backend", &server, "--filter", "001", "--phases", "cold"]).exits(1);
        line_of(&ran.stdout, "Summary ").to_owned()
    };
    assert_eq!(replayed(&[]), "Summary 1 trace: 0 as accepted, 1 new");
    for following in ["text", "tool_use"] {
        let follows = json!({"type": following, "text": "", "id": "toolu_2", "name": "Read", "input": {}});
        assert_eq!(replayed(&[block(1, follows), end(1)]), "Summary 1 trace: 0 as accepted, 1 with malformed arguments");
    }
}

#[test]
fn where_all_traces_are_skipped_the_replay_passes_only_if_they_may_be() {
    let (server, sandbox) = (healthy(), Sandbox::new());
    write_trace(&sandbox, 1, &[("/request/body/messages/0/content", json!(7))]);
    write_trace(&sandbox, 2, &[("/response/status", json!(500))]);
    let replay = |more: &[&str], code: i32| {
        let always = ["replay", "--backend", &server.url, "--json", "out.json", "--junit", "out.xml"];
        let ran = sandbox.run(&[&always[..], more].concat()).exits(code);
        format!(
            "{}{}",
            ran.stderr,
            ran.stdout.lines().map(str::trim).filter(|line| line.starts_with("Summary ")).collect::<String>()
        )
    };
    let told = [
        replay(&[], 1),
        replay(&["--allow-skips"], 0),
        replay(&["--filter", "002"], 2),
        replay(&["--filter", "002", "--allow-skips"], 0),
    ];
    insta::assert_snapshot!(told.join("\n"), @r"
    warning: traces/demo/001.json: skipped: request.body.messages[0].content: invalid type: integer `7`, expected a string or a list of content blocks
    warning: nothing is replayed: all traces are skipped
    Summary 0 traces: 0 as accepted, 1 unreadable, 1 skipped (the recorded upstream did not answer it)
    warning: traces/demo/001.json: skipped: request.body.messages[0].content: invalid type: integer `7`, expected a string or a list of content blocks
    warning: nothing is replayed: all traces are skipped
    Summary 0 traces: 0 as accepted, 2 skipped (request.body.messages[0].content: invalid type: integer `7`, expected a string…; the recorded upstream did not answer it)
    error: traces: nothing to replay; skipped 1, none holds an answered Messages request; --allow-skips succeeds all the same

    warning: nothing is replayed: all traces are skipped
    Summary 0 traces: 0 as accepted, 1 skipped (the recorded upstream did not answer it)
    ");
    let figures: Value = serde_json::from_str(&sandbox.read("out.json")).unwrap();
    assert_eq!((&figures["summary"]["skipped"], &figures["cases"]), (&json!(1), &json!([])));
    assert!(sandbox.read("out.xml").contains("traces/demo/002.json"));
    // Wrong usage stays wrong.
    replay(&["--filter", "nothing", "--allow-skips"], 2);
}

#[test]
fn input_that_cannot_be_read_exits_2_and_names_the_file() {
    let server = healthy();
    let to_server = ["--backend", server.url.as_str()];
    let whole = session().read("traces/demo/001.json");
    let with = |file: &str, content: &str| {
        let sandbox = session();
        sandbox.write(file, content);
        sandbox
    };
    let only = |file: &str, content: &str| {
        let sandbox = Sandbox::new();
        sandbox.write(file, content);
        sandbox
    };
    let unanswered = Sandbox::new();
    write_trace(&unanswered, 1, &[("/response/status", json!(500))]);
    let refusals: String = [
        (with("traces/demo/001.json", &whole[..whole.len() / 2]), vec![]),
        (with("traces/demo/001.json", &whole.replacen("\"version\": 1", "\"version\": 99", 1)), vec![]),
        (with("snapshots/demo__001.snap", "---\nsource: x\n---\n{\n"), vec![]),
        (unanswered, vec![]),
        (Sandbox::new(), vec![]),
        (only("traces/demo/0001.json.partial", ""), vec![]),
        (only("traces/demo/0001.json.zst", "no zstd"), vec![]),
        (session(), vec!["--filter", "nothing"]),
        (session(), vec!["--backend", "elsewhere"]),
        (session(), vec!["--backend", "ftp://elsewhere"]),
        (session(), vec!["--json", "traces"]),
        (session(), vec!["--hgrm", "traces/demo/001.json"]),
        (session(), vec!["--snapshots", "traces/demo/001.json"]),
    ]
    .into_iter()
    .map(|(sandbox, more)| {
        let backend = if more.contains(&"--backend") { &[][..] } else { &to_server };
        sandbox.run(&[&["replay"], backend, &more].concat()).refusal()
    })
    .collect();
    insta::assert_snapshot!(refusals, @"
    exit 2: error: traces/demo/001.json:25:869: not a whole trace: EOF while parsing a string; it was cut short or edited, record it again or delete it
    exit 2: error: traces/demo/001.json: trace version 99, but this anyclaude reads version 1; record it again, or use the anyclaude that wrote it
    exit 2: error: snapshots/demo__001.snap: the content is not a snapshot's JSON: EOF while parsing an object at line 2 column 0; delete it and replay again, or restore it from version control
    exit 2: error: traces: nothing to replay; skipped 1, none holds an answered Messages request; --allow-skips succeeds all the same
    exit 2: error: traces: no such file or folder; `anyclaude record -- claude` makes traces in traces/, `anyclaude --record` in ~/.anyclaude/traces
    exit 2: error: traces/demo/0001.json.partial: a recording that did not end; make it a trace with `anyclaude trace recover traces/demo`
    exit 2: error: traces/demo/0001.json.zst: no whole zstd file: Unknown frame descriptor; it was cut short or edited, record it again or delete it
    exit 2: error: traces: no trace matches --filter nothing
    exit 2: error: --backend elsewhere: what answers is one of mlx, claude, lmstudio, openrouter, openai, anthropic, alone or with `:` and a URL, or a URL that starts with http:// or https://
    exit 2: error: --backend ftp://elsewhere: what answers is one of mlx, claude, lmstudio, openrouter, openai, anthropic, alone or with `:` and a URL, or a URL that starts with http:// or https://
    exit 2: error: cannot write traces: Is a directory (os error 21); choose another place
    exit 2: error: cannot write traces/demo/001.json: File exists (os error 17); choose another place
    exit 2: error: cannot use traces/demo/001.json/demo__001.snap: Not a directory (os error 20); check the path, its permissions and the free space
    ");
}

#[cfg(feature = "mlx")]
#[test]
fn a_model_folder_without_a_file_exits_2_and_names_it() {
    let sandbox = session();
    sandbox.write("model/config.json", "{}");
    insta::assert_snapshot!(sandbox.run(&["replay", "--model", "model"]).refusal(), @"exit 2: error: model/tokenizer.json is missing: the model folder is incomplete, get it again; --model names the model's folder");
}

#[test]
fn wrong_usage_exits_2() {
    for args in [
        &["--phases", "tepid"][..],
        &["--repeat", "0"],
        &["--max-tokens", "0"],
        &["--update", "--check"],
        &["--tool-choice", "some"],
    ] {
        let ran = Sandbox::new().run(&[&["replay"], args].concat()).exits(2);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    }
}

#[test]
fn a_signal_ends_it_with_what_was_measured() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let server = ReplayBackend::with_cache_control(Flaw::HangsAfterOne);
        let sandbox = session();
        let args = ["replay", "--backend", &server.url, "--json", "out.json", "--hgrm", "hgrm"];
        let mut running = Running::start(&mut sandbox.anyclaude(&args));
        until("the second request", || (server.requests().len() >= 2).then_some(()));
        running.signal(signal);
        let ran = running.end().exits(code);
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown(&ran), @"
            Replaying 2 traces × cold, warm, cached against http://127.0.0.1:[port] (model scripted)
              STOPPED demo/001  Read                  cold [time]

             Fidelity as recorded: same tools 1 of 1 (100.0%) (the first tool was forced), same arguments 1 of 1 (100.0%)
              Summary 1 trace: 0 as accepted, 1 stopped, 1 not run, 1 skipped (not a request for a message)
            ");
        }
        assert!(line_of(&ran.stdout, "cold ").contains("TTFT"));
        let report: Value = serde_json::from_str(&sandbox.read("out.json")).unwrap();
        assert_eq!(report["cases"][0]["measurements"].as_array().unwrap().len(), 1);
        assert_eq!(sandbox.files("hgrm"), ["cold-e2e.hgrm", "cold-gap.hgrm", "cold-tpot.hgrm", "cold-ttft.hgrm"]);
    }
}
