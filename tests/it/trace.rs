//! `anyclaude trace`: what people read, and what is said about files that are no traces.

use std::fs;

use anyclaude::snapshot::{Outcome, Snapshot};
use anyclaude::trace::{self, Draft, ExchangeOutcome, Opening, RecordedEvent, RecordedRequest, Trace, VERSION, path_of};
use serde_json::{Map, Value, json};

use crate::support::recorder::files;
use crate::support::sandbox::{Sandbox, repository};

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
        upstream: None,
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

#[test]
fn calls_that_the_server_runs_are_shown_like_others() {
    let sandbox = Sandbox::new();
    let mut shown = String::new();
    for kind in ["server_tool_use", "mcp_tool_use"] {
        let mut trace = exchange_with_arguments("{\"query\": \"b.t", "max_tokens");
        trace.response.events[4].data["content_block"]["type"] = json!(kind);
        trace.response.body = trace::assemble(&trace.response.events);
        trace.response.body["content"]
            .as_array_mut()
            .unwrap()
            .insert(0, json!({"type": kind, "id": "srvtoolu_1", "name": "web_search", "input": {"query": "a"}}));
        trace.response.events.clear();
        trace.response.body["content"][2]["input"] = json!("{\"query\": \"b.t");
        trace::write(&sandbox.path("a.json"), &trace).unwrap();
        shown += &run(&sandbox, &["show", "--last", "a.json"]);
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
      server_tool_use web_search {
        "query": "a"
      }
      I try b.txt.
      server_tool_use Read (no whole JSON) {"query": "b.t

    exit 0
    a.json
    session demo #1, 2026-01-02T03:04:05.678Z, claude-cli/2.1 (external, cli)
    POST /v1/messages?beta=true → 200 complete

    last user turn
      tool_result (error) no such file
      Try b.txt, please.

    answer
      mcp_tool_use web_search {
        "query": "a"
      }
      I try b.txt.
      mcp_tool_use Read (no whole JSON) {"query": "b.t
    "#);
    // As a stream has them.
    let mut trace = exchange_with_arguments("{\"query\": \"b.t", "max_tokens");
    trace.response.events[4].data["content_block"]["type"] = json!("server_tool_use");
    trace.response.body = trace::assemble(&trace.response.events);
    trace::write(&sandbox.path("a.json"), &trace).unwrap();
    let shown = run(&sandbox, &["show", "--last", "a.json"]);
    assert!(shown.contains("  server_tool_use Read (no whole JSON) {\"query\": \"b.t\n"), "{shown}");
}

/// An exchange in another protocol, streamed.
fn streamed(path: &str, body: Value, events: &[Value]) -> Trace {
    let mut request = exchange(1).request;
    (request.path, request.body) = (path.into(), body);
    let Trace { version, id, session, seq, recorded_at, client, mode, upstream, .. } = exchange(1);
    let mut draft = Draft::new(Opening { version, id, session, seq, recorded_at, client, mode, upstream, request });
    draft.respond(200, Map::new());
    for data in events {
        draft.push(RecordedEvent { at_us: 1, event: data["type"].as_str().unwrap_or("message").into(), data: data.clone() });
    }
    draft.to_trace(ExchangeOutcome::Complete, None)
}

#[test]
fn streams_of_other_protocols_are_judged_by_their_own_rules_and_shown() {
    let sandbox = Sandbox::new();
    let chunk = |delta: Value, reason: Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
    let call = |arguments: &str| json!({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "Read", "arguments": arguments}}]});
    let tools = json!([{"type": "function", "function": {"name": "Read", "parameters": {"type": "object"}}}]);
    let chat = json!({"model": "m", "tools": tools, "messages": [{"role": "user", "content": "Read a.txt"}]});
    let item = json!({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "Read", "arguments": "{\"a\": "});
    let traces = [
        streamed(
            "/v1/chat/completions",
            chat.clone(),
            &[chunk(json!({"content": "Yes."}), Value::Null), chunk(call("{\"a\": 1}"), json!("tool_calls")), json!("[DONE]")],
        ),
        streamed("/v1/chat/completions", chat, &[json!(5), chunk(call("{\"a\": "), json!("tool_calls")), json!("[DONE]")]),
        streamed(
            "/v1/completions",
            json!({"model": "m", "prompt": "Once"}),
            &[json!({"choices": [{"index": 0, "text": " upon", "finish_reason": null}]})],
        ),
        streamed(
            "/v1/responses",
            json!({"model": "m", "input": "Read a.txt"}),
            &[
                json!({"type": "response.created", "response": {}}),
                json!({"type": "response.output_item.added", "output_index": 0, "item": item}),
                json!({"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{\"a\": "}),
                json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
                json!({"type": "response.completed", "response": {}}),
            ],
        ),
    ];
    let mut told = String::new();
    for trace in traces {
        trace::write(&sandbox.path("a.json"), &trace).unwrap();
        told += &run(&sandbox, &["show", "a.json"]);
        told += &run(&sandbox, &["validate", "a.json"]);
    }
    insta::assert_snapshot!(told, @r#"
    exit 0
    a.json
    session demo #1, 2026-01-02T03:04:05.678Z, claude-cli/2.1 (external, cli)
    POST /v1/chat/completions → 200 complete

    request
      model     m
      tools     1, 79 characters: Read
      messages  1, 10 characters: user

    last user turn
      Read a.txt

    answer
      content Yes.
      call 0 name Read
      call 0 arguments {
        "a": 1
      }

    timing       ttft -, e2e -, 3 events

    exit 0
    1 trace: 0 problems, 0 warnings
    exit 0
    a.json
    session demo #1, 2026-01-02T03:04:05.678Z, claude-cli/2.1 (external, cli)
    POST /v1/chat/completions → 200 complete

    request
      model     m
      tools     1, 79 characters: Read
      messages  1, 10 characters: user

    last user turn
      Read a.txt

    answer
      call 0 name Read
      call 0 arguments (no whole JSON) {"a":

    timing       ttft -, e2e -, 3 events

    exit 2
    problem: a.json: response.events[0]: its data is a number, no JSON object
    problem: a.json: response.events: alternative 0: the arguments of call 0 are no JSON object: EOF while parsing a value at line 1 column 6
    1 trace: 2 problems, 0 warnings
    exit 0
    a.json
    session demo #1, 2026-01-02T03:04:05.678Z, claude-cli/2.1 (external, cli)
    POST /v1/completions → 200 complete

    request
      model     m

    last user turn
      Once

    answer
      text  upon

    timing       ttft -, e2e -, 1 events

    exit 2
    problem: a.json: response.events: alternative 0 has no finish_reason
    1 trace: 1 problem, 0 warnings
    exit 0
    a.json
    session demo #1, 2026-01-02T03:04:05.678Z, claude-cli/2.1 (external, cli)
    POST /v1/responses → 200 complete

    request
      model     m

    last user turn
      Read a.txt

    answer
      item 0 function_call_arguments (no whole JSON) {"a":

    timing       ttft -, e2e -, 5 events

    exit 2
    problem: a.json: response.events: the arguments of output item 0 are no JSON object: EOF while parsing a value at line 1 column 6
    1 trace: 1 problem, 0 warnings
    "#);
}

#[test]
fn what_is_valid_is_valid_after_scrubbing() {
    let sandbox = Sandbox::new();
    let mut trace = exchange(1);
    trace.request.body["metadata"] = json!({"user_id": "u", "session_token": "[redacted]", "api_key": "$API_KEY"});
    trace::write(&path_of(&sandbox.path("traces"), "demo", 1), &trace).unwrap();
    for folder in ["traces", "clean"] {
        assert!(run(&sandbox, &["validate", folder]).starts_with("exit 0"), "{folder}");
        run(&sandbox, &["scrub", "traces", "--out", "clean"]);
    }
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
    problem: a.json: response.body: the arguments of content block 1 are no JSON object: EOF while parsing a string at line 1 column 18
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
fn broken_arguments_are_marked_wherever_they_stand() {
    let without = |positions: &[usize]| {
        let mut trace = exchange(1);
        let mut position = 0..;
        trace.response.events.retain(|_| !positions.contains(&position.next().unwrap()));
        trace.response.body = trace::assemble(&trace.response.events);
        trace
    };
    let whole = |path: &str, body: Value| {
        let mut trace = without(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
        (trace.request.path, trace.response.body) = (path.into(), body);
        trace
    };
    let function = |arguments: &str| json!({"name": "Read", "arguments": arguments});
    let calls = json!([{"function": function("{}")}, {"function": function("{\"a")}, {"function": function("[1]")}]);
    let sandbox = Sandbox::new();
    let shown = |trace: &Trace| {
        trace::write(&sandbox.path("a.json"), trace).unwrap();
        let shown = run(&sandbox, &["show", "--last", "a.json"]);
        let (_, answer) = shown.split_once("answer\n").unwrap();
        answer.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown(&exchange_with_arguments("[1]", "tool_use")), "I try b.txt. tool_use Read (no JSON object) [ 1 ]");
    let arguments = r#"{ "file_path": "b.txt" }"#;
    assert_eq!(shown(&without(&[6, 7, 8])), format!("I try b.txt. tool_use Read {arguments}"));
    assert_eq!(shown(&without(&[1, 2, 3, 4, 6, 7, 8])), format!("block 1 without a start {arguments}"));
    let chat = shown(&whole("/v1/chat/completions", json!({"choices": [{"message": {"tool_calls": calls}}]})));
    let marked = "} choices[0] call 1 (no whole JSON) {\"a choices[0] call 2 (no JSON object) [ 1 ]";
    assert!(chat.ends_with(marked), "{chat}");
    let item = json!({"type": "function_call", "arguments": "{\"a"});
    let response = shown(&whole("/v1/responses", json!({"output": [{"type": "reasoning"}, item]})));
    assert!(response.ends_with("} output[1] (no whole JSON) {\"a"), "{response}");
}

#[test]
fn a_terminal_obeys_nothing_that_a_trace_says() {
    let sandbox = Sandbox::new();
    let mut trace = exchange(1);
    trace.session = "s\u{1b}[2J".into();
    trace.request.body["model"] = json!("m\u{1b}]0;title\u{7}");
    trace.response.events[2].data["delta"]["text"] = json!("\u{9b}1;1H\rover\u{8}");
    trace.response.body = trace::assemble(&trace.response.events);
    trace::write(&sandbox.path("a.json"), &trace).unwrap();
    for (command, said) in [
        ("show", &["s\\u001b[2J", "m\\u001b]0;title\\u0007", "\\u009b1;1H\\u000dover\\u0008"][..]),
        ("ls", &["s\\u001b[2J", "m\\u001b]0;title\\u0007"]),
        ("validate", &["s\\u{1b}[2J"]),
        ("stats", &["s\\u001b[2J"]),
    ] {
        let printed = run(&sandbox, &[command, "a.json"]);
        assert!(!printed.contains(|c: char| c.is_control() && c != '\n'), "{printed:?}");
        assert!(said.iter().all(|said| printed.contains(said)), "{printed}");
    }
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
    problem: traces/demo/0004.json: response.body is null, no JSON object
    problem: traces/demo/0004.json: its id id-1 is also that of traces/demo/0001.json
    3 traces: 3 problems, 1 warning
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
    error: nowhere: no such file or folder; `anyclaude record -- claude` makes traces in traces/, `anyclaude --record` in ~/.anyclaude/traces
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
fn scrub_writes_over_nothing_without_being_told() {
    let sandbox = session();
    let before = sandbox.read("traces/demo/0001.json");
    trace::write(&sandbox.path("other/a.json"), &exchange(1)).unwrap();
    let refusals =
        run(&sandbox, &["scrub", "traces", "--out", "traces"]) + &run(&sandbox, &["scrub", "other", "traces", "--out", "clean"]);
    insta::assert_snapshot!(refusals + &run(&sandbox, &["scrub", "traces"]), @r"
    exit 2
    error: traces/demo/0001.json: the copy of traces/demo/0001.json would be written over it; choose another folder with --out, or say --in-place
    exit 2
    error: other/a.json and traces/demo/0001.json have the same session and number, so their copies would be one file; scrub them to different folders
    exit 2
    error: the following required arguments were not provided:
      --out <DIR>

    Usage: anyclaude trace scrub --out <DIR> <PATH>...

    For more information, try '--help'.
    ");
    assert_eq!(sandbox.read("traces/demo/0001.json"), before);
    assert!(!sandbox.path("clean").exists());
    insta::assert_snapshot!(run(&sandbox, &["scrub", "--in-place"]), @r"
    exit 0
    traces/demo/0001.json
    traces/demo/0002.json
    ");
    let after = sandbox.read("traces/demo/0001.json");
    assert!(after != before && !after.contains("Try b.txt"));
}

#[test]
fn a_session_that_is_no_folders_name_leads_nowhere() {
    let sandbox = session();
    let outside = sandbox.path("pwn").display().to_string();
    for (seq, session) in (3..).zip(["../../pwn", &outside, "a/b", ".hid", "a\nb", ""]) {
        let broken = Trace { session: session.into(), ..exchange(seq) };
        trace::write(&path_of(&sandbox.path("traces"), "demo", seq), &broken).unwrap();
    }
    let told = |arguments: &[&str]| run(&sandbox, arguments).replace(&outside, "/pwn");
    insta::assert_snapshot!(told(&["scrub", "traces", "--out", "x/y/clean"]), @r#"
    exit 2
    x/y/clean/demo/0001.json
    x/y/clean/demo/0002.json
    error: traces/demo/0003.json: its session "../../pwn" cannot be a folder's name; use ASCII letters, digits, '-', '_' and '.' there, no dot first
    traces/demo/0004.json: its session "/pwn" cannot be a folder's name; use ASCII letters, digits, '-', '_' and '.' there, no dot first
    traces/demo/0005.json: its session "a/b" cannot be a folder's name; use ASCII letters, digits, '-', '_' and '.' there, no dot first
    traces/demo/0006.json: its session ".hid" cannot be a folder's name; use ASCII letters, digits, '-', '_' and '.' there, no dot first
    traces/demo/0007.json: its session "a\nb" cannot be a folder's name; use ASCII letters, digits, '-', '_' and '.' there, no dot first
    traces/demo/0008.json: its session "" cannot be a folder's name; use ASCII letters, digits, '-', '_' and '.' there, no dot first
    "#);
    assert!(!sandbox.path("pwn").exists() && !sandbox.path("x/pwn").exists());
    insta::assert_snapshot!(told(&["validate", "traces"]).lines().filter(|line| line.contains("session")).collect::<Vec<_>>().join("\n"), @r#"
    problem: traces/demo/0003.json: session "../../pwn" cannot be a folder's name
    problem: traces/demo/0004.json: session "/pwn" cannot be a folder's name
    problem: traces/demo/0005.json: session "a/b" cannot be a folder's name
    problem: traces/demo/0006.json: session ".hid" cannot be a folder's name
    problem: traces/demo/0007.json: session "a\nb" cannot be a folder's name
    problem: traces/demo/0008.json: session is empty
    "#);
    // Written over, each stays where it is.
    assert!(run(&sandbox, &["scrub", "--in-place"]).starts_with("exit 0"));
}

#[test]
fn the_snapshots_of_scrubbed_traces_are_scrubbed_with_them_and_still_match() {
    let sandbox = session();
    let snapshot = "---\nsource: anyclaude replay\ndescription: '[tool error] no such file Try b.txt, please.'\ninput_file: traces/demo/0001.json\n---\n{\n  \"stop_reason\": \"tool_use\",\n  \"tool_use\": [{\"name\": \"Read\", \"input\": {\"file_path\": \"b.txt\"}}]\n}\n";
    sandbox.write("snapshots/demo__0001.snap", snapshot);
    insta::assert_snapshot!(run(&sandbox, &["scrub", "--out", "clean"]), @r"
    exit 0
    clean/demo/0001.json
    clean/snapshots/demo__0001.snap
    clean/demo/0002.json
    ");
    let copy = Snapshot::read(&sandbox.path("clean/snapshots/demo__0001.snap")).unwrap().unwrap();
    let answer = trace::recorded_message(&trace::read(&sandbox.path("clean/demo/0001.json")).unwrap()).unwrap();
    assert_eq!(copy.outcome, Outcome::from(&answer));
    let text = copy.to_text();
    assert!(!text.contains("b.txt") && !text.contains("please") && text.contains("input_file: clean/demo/0001.json"), "{text}");
    // With the turns, all that a snapshot has stays but what tells who somebody is.
    run(&sandbox, &["scrub", "--keep-turns", "--in-place"]);
    assert!(sandbox.read("snapshots/demo__0001.snap").contains("Try b.txt, please."));
}

#[test]
fn one_malformed_request_does_not_keep_the_others_from_being_counted() {
    let sandbox = session();
    for (seq, body) in [
        (3, json!("no JSON")),
        (4, json!({"model": 5})),
        (5, json!({"model": "m", "max_tokens": 1, "messages": 7})),
        (6, Value::Null),
        (7, json!([])),
        (
            9,
            json!({"model": "m", "max_tokens": 1, "messages": [{"role": "assistant", "content": [
            {"type": "tool_use", "id": "t", "name": "Read", "input": "{}"}]}]}),
        ),
    ] {
        let mut trace = exchange(seq);
        trace.request.body = body;
        trace::write(&path_of(&sandbox.path("traces"), "demo", seq), &trace).unwrap();
    }
    sandbox.write("traces/demo/0008.json", "{");
    insta::assert_snapshot!(run(&sandbox, &["stats"]), @r"
    exit 2
     request     characters   shared     %   with        broken by
     demo/0001          158        0     0   -           -
     demo/0002          158      158   100   demo/0001   -
    158 of 316 characters shared with earlier requests (50%)
    demo/0003 is not counted: request.body is no JSON: expected ident at line 1 column 2
    demo/0004 is not counted: request.body.model: invalid type: integer `5`, expected a string
    demo/0005 is not counted: request.body.messages: invalid type: integer `7`, expected a sequence
    demo/0006 is not counted: request.body is null, no JSON object
    demo/0007 is not counted: request.body is a list, no JSON object
    demo/0009 is not counted: request.body: messages.0.content.0.tool_use.input: Input should be a valid dictionary
    error: traces/demo/0008.json:1:1: not a whole trace: EOF while parsing an object; it was cut short or edited, record it again or delete it
    ");
    for command in [&["ls"][..], &["show", "traces"], &["validate"]] {
        let out = run(&sandbox, command);
        assert!(out.starts_with("exit 2") && out.contains("traces/demo/0008.json:1:1: not a whole trace"), "{out}");
        let shown = if command[0] == "validate" { "9 traces" } else { "demo" };
        assert!(out.contains(shown) && (command[0] != "show" || out.contains("session demo #7")), "{out}");
    }
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

#[cfg(target_os = "linux")]
#[test]
fn a_path_that_is_no_text_is_listed_as_json_too() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::new();
    let folder = sandbox.path("traces").join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(repository("traces/read-file/0001.json"), folder.join("0001.json")).unwrap();
    let listed = sandbox.run(&["trace", "ls", "--json"]).exits(0).stdout;
    let found = sandbox.run(&["trace", "grep", "--json", "read"]).exits(0).stdout;
    for json in [listed, found] {
        let items: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(items[0]["file"], "traces/caf\u{fffd}/0001.json");
    }
}
