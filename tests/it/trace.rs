//! `anyclaude trace`: what people read, and what is said about files that are no traces.

use std::fs;

use anyclaude::trace::{self, Draft, ExchangeOutcome, Opening, RecordedEvent, RecordedRequest, Trace, VERSION, path_of};
use serde_json::{Map, Value, json};

use crate::support::recorder::files;
use crate::support::sandbox::Sandbox;

/// An exchange in which Read is called; times are made up.
fn exchange(seq: u32) -> Trace {
    let mut draft = Draft::new(Opening {
        version: VERSION,
        id: format!("id-{seq}"),
        session: "demo".into(),
        seq,
        recorded_at: "2026-01-02T03:04:05.678Z".into(),
        client: "claude-cli/2.1 (external, cli)".into(),
        mode: "anthropic".into(),
        request: RecordedRequest {
            method: "POST".into(),
            path: "/v1/messages?beta=true".into(),
            headers: Map::new(),
            body: json!({
                "model": "claude-test", "max_tokens": 64000, "stream": true,
                "system": [{"type": "text", "text": "You help with code."}],
                "tools": [{"name": "Read", "description": "Reads.", "input_schema": {"type": "object"}},
                    {"name": "Bash", "description": "Runs.", "input_schema": {"type": "object"}}],
                "messages": [
                    {"role": "user", "content": "Read a.txt"},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_0", "name": "Read", "input": {"file_path": "a.txt"}}]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_0", "is_error": true, "content": "no such file"},
                        {"type": "text", "text": "Try b.txt, please."}]}],
            }),
        },
    });
    draft.respond(200, Map::new());
    for (at_us, data) in [
        (
            1_000,
            json!({"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-test",
            "content":[],"stop_reason":null,"usage":{"input_tokens":1200,"cache_read_input_tokens":34000,"output_tokens":1}}}),
        ),
        (250_000, json!({"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}})),
        (260_000, json!({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"I try b.txt."}})),
        (261_000, json!({"type":"content_block_stop","index":0})),
        (
            280_000,
            json!({"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"Read","input":{}}}),
        ),
        (
            290_000,
            json!({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"file_path\":\"b.txt\"}"}}),
        ),
        (291_000, json!({"type":"content_block_stop","index":1})),
        (1_300_000, json!({"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":42}})),
        (1_300_100, json!({"type":"message_stop"})),
    ] {
        draft.push(RecordedEvent { at_us, event: data["type"].as_str().unwrap().into(), data });
    }
    draft.to_trace(ExchangeOutcome::Complete, None)
}

/// A sandbox with two traces of a session.
fn session() -> Sandbox {
    let sandbox = Sandbox::new();
    for seq in [1, 2] {
        trace::write(&path_of(&sandbox.path("traces"), "demo", seq), &exchange(seq)).unwrap();
    }
    sandbox
}

/// Exit code, output and errors.
fn run(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let ran = sandbox.run(&[&["trace"], arguments].concat());
    format!("exit {}\n{}{}", ran.code.unwrap(), ran.stdout, ran.stderr)
}

#[test]
fn ls_prints_a_line_for_each_trace() {
    insta::assert_snapshot!(run(&session(), &["ls"]), @r"
    exit 0
     session   seq   time                  model         messages   tools called   status   outcome      ttft      e2e       size
     demo        1   2026-01-02 03:04:05   claude-test          3   Read           200      complete   260 ms   1.30 s   4.71 KiB
     demo        2   2026-01-02 03:04:05   claude-test          3   Read           200      complete   260 ms   1.30 s   4.71 KiB
    ");
}

#[test]
fn ls_as_json_holds_the_same() {
    let output = run(&session(), &["ls", "--json", "traces/demo/0002.json"]);
    let rows: Value = serde_json::from_str(output.strip_prefix("exit 0\n").unwrap()).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!((&rows[0]["seq"], &rows[0]["tools_called"], &rows[0]["ttft_us"]), (&json!(2), &json!(["Read"]), &json!(260_000)));
}

#[test]
fn show_tells_the_exchange() {
    insta::assert_snapshot!(run(&session(), &["show", "traces/demo/0001.json"]), @r#"
    exit 0
    traces/demo/0001.json
    session demo #1, 2026-01-02T03:04:05.678Z, claude-cli/2.1 (external, cli)
    POST /v1/messages?beta=true → 200 complete

    request
      model     claude-test, max_tokens 64,000, stream
      system    1 block, 19 characters
      tools     2, 144 characters: Read Bash
      messages  3, 40 characters: user assistant user

    last user turn
      tool_result (error) no such file
      Try b.txt, please.

    answer
      I try b.txt.
      tool_use Read {
        "file_path": "b.txt"
      }

    stop reason  tool_use
    usage        input_tokens 1,200, cache_read_input_tokens 34,000, output_tokens 42
    timing       ttft 260 ms, e2e 1.30 s, itl p50 10.0 ms, p90 20.0 ms, p99 20.0 ms, 9 events
    "#);
    insta::assert_snapshot!(run(&session(), &["show", "--last", "traces/demo/0001.json"]), @r#"
    exit 0
    traces/demo/0001.json
    session demo #1, 2026-01-02T03:04:05.678Z, claude-cli/2.1 (external, cli)
    POST /v1/messages?beta=true → 200 complete

    last user turn
      tool_result (error) no such file
      Try b.txt, please.

    answer
      I try b.txt.
      tool_use Read {
        "file_path": "b.txt"
      }
    "#);
}

/// The exchange with other arguments in its call, and this stop reason.
fn exchange_with_arguments(arguments: &str, stop_reason: &str) -> Trace {
    let mut trace = exchange(1);
    trace.response.events[5].data["delta"]["partial_json"] = json!(arguments);
    trace.response.events[7].data["delta"]["stop_reason"] = json!(stop_reason);
    trace.response.body = trace::assemble(&trace.response.events);
    trace
}

#[test]
fn arguments_that_are_no_json_are_shown_as_they_are_and_are_a_problem_where_nothing_cut_them() {
    let sandbox = Sandbox::new();
    let mut shown = String::new();
    for stop_reason in ["tool_use", "max_tokens"] {
        trace::write(&sandbox.path("a.json"), &exchange_with_arguments("{\"file_path\": \"b.t", stop_reason)).unwrap();
        shown += &run(&sandbox, &["show", "--last", "a.json"]);
        shown += &run(&sandbox, &["validate", "a.json"]);
    }
    insta::assert_snapshot!(shown, @r#"
    exit 0
    a.json
    session demo #1, 2026-01-02T03:04:05.678Z, claude-cli/2.1 (external, cli)
    POST /v1/messages?beta=true → 200 complete

    last user turn
      tool_result (error) no such file
      Try b.txt, please.

    answer
      I try b.txt.
      tool_use Read (no whole JSON) {"file_path": "b.t

    exit 2
    problem: a.json: response.body: the arguments of content block 1 are no JSON object
    1 trace: 1 problem, 0 warnings
    exit 0
    a.json
    session demo #1, 2026-01-02T03:04:05.678Z, claude-cli/2.1 (external, cli)
    POST /v1/messages?beta=true → 200 complete

    last user turn
      tool_result (error) no such file
      Try b.txt, please.

    answer
      I try b.txt.
      tool_use Read (no whole JSON) {"file_path": "b.t

    exit 0
    1 trace: 0 problems, 0 warnings
    "#);
}

#[test]
fn validate_lists_every_problem_and_exits_2() {
    let sandbox = session();
    insta::assert_snapshot!(run(&sandbox, &["validate", "traces"]), @r"
    exit 0
    2 traces: 0 problems, 0 warnings
    ");
    let mut broken = exchange(4);
    broken.id = "id-1".into();
    broken.response.body = Value::Null;
    trace::write(&path_of(&sandbox.path("traces"), "demo", 4), &broken).unwrap();
    insta::assert_snapshot!(run(&sandbox, &["validate", "traces"]), @r"
    exit 2
    warning: traces/demo: session demo has no numbers between 2 and 4
    problem: traces/demo/0004.json: response.body is not what response.events assemble to
    problem: traces/demo/0004.json: its id id-1 is also that of traces/demo/0001.json
    3 traces: 2 problems, 1 warning
    ");
}

#[test]
fn files_that_are_no_traces_are_named_with_the_next_step() {
    let sandbox = session();
    let whole = sandbox.read("traces/demo/0001.json");
    sandbox.write("cut.json", &whole[..700]);
    sandbox.write("v9.json", whole.replace("\"version\": 1", "\"version\": 9"));
    fs::create_dir(sandbox.path("empty")).unwrap();
    insta::assert_snapshot!(run(&sandbox, &["show", "cut.json"]), @r"
    exit 2
    error: cut.json:33:15: not a whole trace: EOF while parsing a string; it was cut short or edited, record it again or delete it
    ");
    insta::assert_snapshot!(run(&sandbox, &["show", "v9.json"]), @r"
    exit 2
    error: v9.json: trace version 9, but this anyclaude reads version 1; record it again, or use the anyclaude that wrote it
    ");
    insta::assert_snapshot!(run(&sandbox, &["ls", "empty"]), @r"
    exit 2
    error: no traces in empty; make some with `anyclaude record -- claude`
    ");
    insta::assert_snapshot!(run(&sandbox, &["ls", "nowhere"]), @r"
    exit 2
    error: nowhere: no such file or folder; `anyclaude record -- claude` makes traces, in traces/ by default
    ");
    // What is well is listed; what is not is told.
    insta::assert_snapshot!(run(&sandbox, &["ls", "cut.json", "v9.json", "traces/demo/0001.json"]), @r"
    exit 2
     session   seq   time                  model         messages   tools called   status   outcome      ttft      e2e       size
     demo        1   2026-01-02 03:04:05   claude-test          3   Read           200      complete   260 ms   1.30 s   4.71 KiB
    error: cut.json:33:15: not a whole trace: EOF while parsing a string; it was cut short or edited, record it again or delete it
    v9.json: trace version 9, but this anyclaude reads version 1; record it again, or use the anyclaude that wrote it
    ");
}

#[test]
fn scrub_writes_copies_that_are_valid_and_scrubbed_only_once() {
    let sandbox = session();
    insta::assert_snapshot!(run(&sandbox, &["scrub", "traces", "--out", "clean"]), @r"
    exit 0
    clean/demo/0001.json
    clean/demo/0002.json
    ");
    run(&sandbox, &["scrub", "clean", "--out", "twice"]);
    let read = |name: &str| files(&sandbox.path(name)).iter().map(|file| fs::read_to_string(file).unwrap()).collect::<Vec<_>>();
    assert_eq!(read("clean"), read("twice"));
    // Copies have the ids of their originals.
    assert!(run(&sandbox, &["validate", "traces", "clean"]).starts_with("exit 0"));
    let clean = read("clean").concat();
    for text in ["You help", "no such file", "I try", "Try b.txt", "b.txt"] {
        assert!(!clean.contains(text), "{text}");
    }
    assert!(clean.contains("claude-test") && clean.contains("\"Read\""));
}

#[test]
fn scrub_keeps_turns_where_a_replay_needs_them() {
    let sandbox = session();
    run(&sandbox, &["scrub", "traces", "--out", "clean", "--keep-turns"]);
    let clean = sandbox.read("clean/demo/0001.json");
    assert!(clean.contains("Try b.txt, please.") && clean.contains("\"file_path\": \"a.txt\""), "{clean}");
    assert!(!clean.contains("You help") && !clean.contains("no such file") && !clean.contains("I try"));
}

#[test]
fn recover_says_when_there_is_nothing_to_do() {
    insta::assert_snapshot!(run(&session(), &["recover"]), @r"
    exit 0
    nothing to recover in traces
    ");
}
