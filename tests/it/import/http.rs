//! Files of tools that record HTTP. fixtures/imports/README.md says how they were made.

use anyclaude::trace::{self, Trace};
use serde_json::{Value, json};

use crate::support::sandbox::{Sandbox, repository};

/// What is said of an import of one of the fixtures, and its traces.
pub(super) fn imported(fixture: &str) -> (String, Vec<Trace>) {
    let sandbox = Sandbox::new();
    let file = repository("fixtures/imports").join(fixture);
    let said = sandbox.run(&["trace", "import", file.to_str().unwrap()]).exits(0).stdout;
    sandbox.run(&["trace", "validate", "traces"]).exits(0);
    let files = trace::find(&[sandbox.path("traces")]).unwrap();
    (sandbox.portable(&said), files.iter().map(|file| trace::read(file).unwrap()).collect())
}

/// What was asked and what came, a line for each trace.
pub(super) fn outline(traces: &[Trace]) -> String {
    let line = |trace: &Trace| {
        let Trace { session, seq, request, response, outcome, .. } = trace;
        let calls = response.body["content"].as_array().map_or(Value::Null, |blocks| json!(blocks));
        let asked = &request.body["messages"][0]["content"];
        format!("{session}/{seq} {} {asked} {} {outcome:?} {calls}", request.path, response.status)
    };
    traces.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_flow_file_of_mitmproxy_and_its_archive_hold_the_same_exchanges() {
    let (said, flows) = imported("flows.mitm");
    insta::assert_snapshot!(said, @"
    traces/demo: 2 exchanges
    traces/demo-agent-a1: 1 exchange
      1 without the answer's end
    traces/flows: 2 exchanges
    mitmproxy's flow files do not hold: events and their times
    passed over what is no call of a model: 1
    ");
    insta::assert_snapshot!(outline(&flows), @r#"
    demo/1 /v1/messages?beta=true "Read é.txt with [redacted]" 200 Complete [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    demo/2 /v1/messages "Again" 200 Complete [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    demo-agent-a1/1 /v1/messages "To its end" 200 Truncated [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    flows/1 /v1/messages "Hi" 529 UpstreamError null
    flows/2 /v1/messages/count_tokens "Hi" 200 Complete null
    "#);
    let (said, entries) = imported("flows.har");
    insta::assert_snapshot!(said, @"
    traces/demo: 2 exchanges
    traces/demo-agent-a1: 1 exchange
      1 without the answer's end
    traces/flows: 2 exchanges
    HTTP archives, HAR 1.2 do not hold: events and their times
    passed over what is no call of a model: 1
    ");
    assert_eq!(outline(&entries), outline(&flows));

    for (flow, entry) in flows.iter().zip(&entries) {
        assert_eq!(flow.request.body, entry.request.body);
        assert_eq!(flow.response.body, entry.response.body);
        assert_eq!(flow.request.headers["x-api-key"], "[redacted]");
        assert_eq!(flow.client, "claude-cli/2.1.331 (external, cli)");
        assert_eq!((&flow.mode[..], &entry.mode[..]), ("import:mitmproxy", "import:har"));
        assert!(flow.response.events.is_empty() && flow.timing.ttft_us.is_none());
    }
    let whole = flows.iter().filter(|trace| trace.timing.e2e_us.is_some()).count();
    assert_eq!((whole, flows.len()), (3, 5));
}

#[test]
fn a_log_of_claude_trace_is_read_line_by_line() {
    let stream = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\
        \"model\":\"m\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n\
        event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let ask = |body: Value| {
        json!({"timestamp": 1764567890.5, "method": "POST", "url": "https://api.anthropic.com/v1/messages?beta=true",
            "headers": {"authorization": "Bearer sk-ant...", "user-agent": "claude-cli/1.0"}, "body": body})
    };
    let body = json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]});
    let whole = json!({"timestamp": 1764567891.75, "status_code": 200, "headers": {"content-type": "text/event-stream"}, "body_raw": stream});
    let lines = [
        json!({"request": ask(body.clone()), "response": whole, "logged_at": "2025-12-01T05:44:52.000Z"}),
        json!({"request": ask(body), "response": null, "logged_at": "2025-12-01T05:44:53.000Z", "note": "orphaned"}),
        json!({"request": ask(Value::Null), "response": null, "logged_at": "2025-12-01T05:44:53.000Z"}),
        json!({"request": 7, "logged_at": "2025-12-01T05:44:53.000Z"}),
    ];
    let sandbox = Sandbox::new();
    sandbox.write("log.jsonl", lines.map(|line| line.to_string()).join("\n"));
    let said = sandbox.run(&["trace", "import", "log.jsonl"]).exits(0).stdout;
    insta::assert_snapshot!(said, @"
    traces/log: 2 exchanges
      1 without the answer
    claude-trace's logs do not hold: events and their times
    not imported: 2
      log.jsonl: line 3: the file does not hold the request's body
      log.jsonl: line 4: no pair of a request and an answer: invalid type: integer `7`, expected struct Request at line 1 column 12
    ");
    let first = trace::read(&sandbox.path("traces/log/0001.json")).unwrap();
    assert_eq!((first.recorded_at.as_str(), first.timing.e2e_us), ("2025-12-01T05:44:50.5Z", Some(1_250_000)));
    assert_eq!(first.response.body["stop_reason"], "end_turn");
    sandbox.run(&["trace", "validate", "traces"]).exits(0);
}

#[test]
fn an_archive_that_is_compressed_or_holds_the_same_again_or_nothing_is_said() {
    let sandbox = Sandbox::new();
    let fixture = |name: &str| std::fs::read(repository("fixtures/imports").join(name)).unwrap();
    sandbox.write("flows.har.zst", zstd::encode_all(&fixture("flows.har")[..], 0).unwrap());
    sandbox.write("flows.mitm", fixture("flows.mitm"));
    sandbox.write("empty.har", r#"{"log": {"version": "1.2", "creator": {"name": "a", "version": "1"}, "entries": []}}"#);
    let said = sandbox.run(&["trace", "import", "flows.har.zst", "flows.mitm", "empty.har"]).exits(0).stdout;
    insta::assert_snapshot!(said, @"
    traces/demo: 2 exchanges
    traces/demo-agent-a1: 1 exchange
      1 without the answer's end
    traces/flows: 2 exchanges
    HTTP archives, HAR 1.2 do not hold: events and their times
    nothing is in empty.har
    there already, and passed over: 5 exchanges of flows.mitm
    passed over what is no call of a model: 2
    ");
    insta::assert_snapshot!(sandbox.run(&["trace", "import", "empty.har"]).exits(2).stdout, @"nothing is in empty.har");
}

#[test]
fn an_entry_of_another_shape_costs_no_other_and_a_cut_archive_gives_what_it_has() {
    let sandbox = Sandbox::new();
    let archive = std::fs::read_to_string(repository("fixtures/imports/flows.har")).unwrap();
    let entries = "\"entries\": [";
    assert!(archive.contains(entries));
    sandbox.write("odd.har", archive.replacen(entries, "\"entries\": [{\"request\": 7}, ", 1));
    let said = sandbox.run(&["trace", "import", "odd.har"]).exits(0).stdout;
    insta::assert_snapshot!(said, @"
    traces/demo: 2 exchanges
    traces/demo-agent-a1: 1 exchange
      1 without the answer's end
    traces/odd: 2 exchanges
    HTTP archives, HAR 1.2 do not hold: events and their times
    passed over what is no call of a model: 1
    not imported: 1
      odd.har: entry 1: not an entry of an archive: invalid type: integer `7`, expected struct Request at line 1 column 13
    ");

    let archive = archive.trim_end();
    sandbox.write("cut.har", &archive[..archive.len() - 100]);
    let ran = sandbox.run(&["trace", "import", "--out", "cut", "cut.har"]).exits(2);
    insta::assert_snapshot!(format!("{}{}", ran.stdout, ran.stderr), @"
    cut/cut: 1 exchange
    cut/demo: 2 exchanges
    cut/demo-agent-a1: 1 exchange
      1 without the answer's end
    HTTP archives, HAR 1.2 do not hold: events and their times
    passed over what is no call of a model: 1
    error: cut.har: broken behind entry 5: byte 25766: the file ends here, in the middle
    ");
}

#[test]
fn what_claude_trace_wrote_is_read() {
    let (said, traces) = imported("claude-trace.jsonl");
    insta::assert_snapshot!(said, @"
    traces/claude-trace: 1 exchange
    traces/demo: 2 exchanges
      1 without the answer's end
    claude-trace's logs do not hold: events and their times
    ");
    insta::assert_snapshot!(outline(&traces), @r#"
    claude-trace/1 /v1/messages "Read é.txt" 529 UpstreamError null
    demo/1 /v1/messages "Read é.txt" 200 Complete [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    demo/2 /v1/messages "Read é.txt" 200 Truncated [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    "#);
    assert!(traces.iter().all(|trace| trace.request.headers["authorization"] == "[redacted]"));
    assert_eq!(traces[1].request.body["system"], "Be brief.");
}

#[test]
fn what_chromium_sent_and_got_is_read_from_its_archive() {
    let (said, traces) = imported("chromium.har");
    insta::assert_snapshot!(said, @"
    traces/chromium: 4 exchanges
      1 without the answer's end
    HTTP archives, HAR 1.2 do not hold: events and their times
    passed over what is no call of a model: 1
    ");
    insta::assert_snapshot!(outline(&traces), @r#"
    chromium/1 /v1/messages "Read é.txt" 200 Complete [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    chromium/2 /v1/messages "Read é.txt" 200 Complete [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    chromium/3 /v1/messages "Read é.txt" 200 Truncated [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    chromium/4 /v1/messages "Read é.txt" 529 UpstreamError null
    "#);
    assert!(traces.iter().all(|trace| trace.request.headers["x-api-key"] == "[redacted]"));
    assert!(traces.iter().all(|trace| trace.request.body["tools"][0]["name"] == "Read"));
}

/// A pair of claude-trace's log: what was asked this many seconds after a time, and an answer that ended like this.
fn pair(seconds: f64, text: &str, answer: Value) -> Value {
    let start = 1_764_567_890.5 + seconds;
    let body = json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": text}]});
    let request = json!({
        "timestamp": start, "method": "POST", "url": "https://api.anthropic.com/v1/messages", "headers": {}, "body": body,
    });
    let headers = json!({"content-type": "application/json"});
    let response = json!({"timestamp": start + 1.0, "status_code": 200, "headers": headers, "body": answer});
    json!({"request": request, "response": response, "logged_at": "2025-12-01T05:44:52.000Z"})
}

fn whole(id: &str) -> Value {
    let usage = json!({"input_tokens": 1, "output_tokens": 1});
    json!({
        "id": id, "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn", "usage": usage,
    })
}

fn lines(pairs: &[Value]) -> String {
    pairs.iter().map(|pair| format!("{pair}\n")).collect()
}

#[test]
fn of_two_requests_at_the_same_time_the_second_may_come_later() {
    let sandbox = Sandbox::new();
    let pairs = [pair(0.0, "One", whole("a")), pair(0.0, "Two", whole("b")), pair(9.0, "Three", whole("c"))];
    sandbox.write("log.jsonl", lines(&pairs[..1]));
    sandbox.run(&["trace", "import", "log.jsonl"]).exits(0);
    sandbox.write("log.jsonl", lines(&pairs));
    let said = sandbox.run(&["trace", "import", "log.jsonl"]).exits(0).stdout;
    assert!(said.starts_with("traces/log: 3 exchanges\n"), "{said}");
    let asked = (1..=3).map(|number| trace::read(&sandbox.path(&format!("traces/log/000{number}.json"))).unwrap());
    let asked: Vec<_> = asked.map(|trace| trace.request.body["messages"][0]["content"].clone()).collect();
    assert_eq!(asked, ["One", "Two", "Three"]);
}

#[test]
fn an_answer_that_is_not_whole_is_not_complete() {
    let sandbox = Sandbox::new();
    let mut unended = whole("a");
    unended["stop_reason"] = Value::Null;
    let pairs = [
        pair(0.0, "One", json!("{\"id\": \"msg_1\", \"cont")),
        pair(1.0, "Two", unended),
        pair(2.0, "Three", whole("b")),
        // Half of an emoji, as JavaScript writes it.
        pair(3.0, "Four", whole("c")),
    ];
    sandbox.write("log.jsonl", lines(&pairs).replace("Four", "Four \\ud83d"));
    let said = sandbox.run(&["trace", "import", "log.jsonl"]).exits(0).stdout;
    insta::assert_snapshot!(said, @"
    traces/log: 4 exchanges
      1 without a whole answer
      1 without the reason why the answer ended
    claude-trace's logs do not hold: events and their times
    ");
    let outcome = |number: u32| trace::read(&sandbox.path(&format!("traces/log/000{number}.json"))).unwrap().outcome;
    use trace::ExchangeOutcome::{Complete, Truncated};
    assert_eq!([1, 2, 3, 4].map(outcome), [Truncated, Truncated, Complete, Complete]);
    sandbox.run(&["trace", "validate", "traces"]).exits(0);
}

#[test]
fn a_file_may_begin_with_a_mark_of_its_byte_order_and_quote_an_archive() {
    let sandbox = Sandbox::new();
    let mut quoting = pair(0.0, "One", whole("a"));
    quoting["request"]["body"]["tools"] =
        json!([{"name": "har", "input_schema": {"type": "object", "properties": {"log": {"entries": {}}}}}]);
    sandbox.write("log.jsonl", format!("\u{feff}{quoting}\n"));
    let said = sandbox.run(&["trace", "import", "log.jsonl"]).exits(0).stdout;
    assert!(said.starts_with("traces/log: 1 exchange\n"), "{said}");
}

#[test]
fn what_comes_through_a_pipe_is_read() {
    let sandbox = Sandbox::new();
    sandbox.write("log.jsonl", lines(&[pair(0.0, "One", whole("a"))]));
    let piped = format!("cat log.jsonl | {} trace import /dev/stdin", env!("CARGO_BIN_EXE_anyclaude"));
    let output = sandbox.program("sh").args(["-c", &piped]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("traces/stdin: 1 exchange\n"), "{said}");
}

#[test]
fn an_archive_with_a_time_that_is_none_keeps_no_other_from_being_read() {
    let sandbox = Sandbox::new();
    let archive = |time: &str| {
        let request = json!({"method": "POST", "url": "https://api.anthropic.com/v1/messages", "headers": [],
            "postData": {"mimeType": "application/json", "text": r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"Hi"}]}"#}});
        let response = json!({"status": 529, "headers": [], "content": {"mimeType": "application/json", "text": "{}"}});
        let entry = json!({"startedDateTime": time, "time": 5, "request": request, "response": response});
        json!({"log": {"version": "1.2", "creator": {}, "entries": [entry]}}).to_string()
    };
    for (file, time) in
        [("a.har", "2026-11-28T04:06:49Z"), ("b.har", "9999-12-31T23:59:59-23:59"), ("c.har", "2026-11-28T04:06:50+01:00")]
    {
        sandbox.write(file, archive(time));
    }
    let ran = sandbox.run(&["trace", "import", "a.har", "b.har", "c.har"]).exits(0);
    assert!(ran.stdout.contains("its time, 9999-12-31T23:59:59-23:59, is none"), "{ran:?}");
    assert_eq!(trace::find(&[sandbox.path("traces")]).unwrap().len(), 2);
}
