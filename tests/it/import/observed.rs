//! What observability tools log. fixtures/imports/README.md says how the files were made.

use anyclaude::trace;
use serde_json::{Value, json};

use super::http::{imported, outline};
use crate::support::sandbox::{Sandbox, repository};

#[test]
fn what_litellms_callback_posted_is_read() {
    let (said, traces) = imported("litellm.jsonl");
    insta::assert_snapshot!(said, @"
    traces/2ffb5448-a66c-4dca-99ba-ee5153c012f4: 1 exchange
      1 without the answer's body
    traces/7d62f016-c057-4c1a-b339-6a045f55f537: 1 exchange
    traces/c708a553-6426-4945-84fb-51689f47c17d: 1 exchange
    traces/demo: 1 exchange
    LiteLLM's logs do not hold: events and their times, most headers, how the answer's text and calls are ordered
    ");
    insta::assert_snapshot!(outline(&traces), @r#"
    2ffb5448-a66c-4dca-99ba-ee5153c012f4/1 /v1/messages "Hi" 500 UpstreamError null
    7d62f016-c057-4c1a-b339-6a045f55f537/1 /v1/messages "Read é.txt" 200 Complete [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    c708a553-6426-4945-84fb-51689f47c17d/1 /v1/chat/completions "Be brief." 200 Complete null
    demo/1 /v1/messages "Read é.txt" 200 Complete [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    "#);
    assert_eq!(traces[3].request.body["system"], "Be brief.");
    assert_eq!(traces[3].response.body["stop_reason"], "tool_use");
}

#[test]
fn the_spans_of_an_instrumentation_are_read() {
    let (said, traces) = imported("spans.jsonl");
    insta::assert_snapshot!(said, @"
    traces/537958107741503d1725e238560499a7: 1 exchange
    traces/932e9bf4c3496b14eb448fbf5f2ed6b8: 1 exchange
    traces/c7546cca87f21d27dae0bd9f0fc1ab33: 1 exchange
      1 without the answer
    OpenTelemetry's spans of generative AI, OTLP/JSON do not hold: events and their times, headers, fields of requests and blocks without a convention
    ");
    insta::assert_snapshot!(outline(&traces), @r#"
    537958107741503d1725e238560499a7/1 /v1/messages [{"type":"text","text":"Read é.txt"}] 200 Complete [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    932e9bf4c3496b14eb448fbf5f2ed6b8/1 /v1/messages [{"type":"text","text":"Read é.txt"}] 200 Complete [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    c7546cca87f21d27dae0bd9f0fc1ab33/1 /v1/messages [{"type":"text","text":"Hi"}] 0 UpstreamError null
    "#);
    assert_eq!(traces[1].request.body["system"][0]["text"], "Be brief.");
    assert_eq!(traces[1].request.body["tools"][0]["input_schema"]["required"][0], "file_path");
    assert_eq!(traces[0].request.body["messages"][2]["content"][0]["tool_use_id"], "toolu_0");
}

/// The spans of an instrumentation of 2025, one in each line.
fn older_spans() -> Vec<Value> {
    let text = std::fs::read_to_string(repository("fixtures/imports/spans-2025.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The attributes of the span in a line.
fn attributes(line: &mut Value) -> &mut Vec<Value> {
    line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"].as_array_mut().unwrap()
}

/// Imports the file `spans.jsonl` with these lines; what was said, and the traces.
fn imported_spans(sandbox: &Sandbox, lines: &[Value]) -> (String, Vec<trace::Trace>) {
    sandbox.write("spans.jsonl", lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    let said = sandbox.run(&["trace", "import", "spans.jsonl"]).exits(0).stdout;
    sandbox.run(&["trace", "validate", "traces"]).exits(0);
    let files = trace::find(&[sandbox.path("traces")]).unwrap();
    (said, files.iter().map(|file| trace::read(file).unwrap()).collect())
}

#[test]
fn spans_without_what_every_request_has_are_no_traces() {
    let sandbox = Sandbox::new();
    let file = repository("fixtures/imports/spans-2025.jsonl");
    let said = sandbox.run(&["trace", "import", file.to_str().unwrap()]).exits(2).stdout;
    insta::assert_snapshot!(sandbox.portable(&said), @"
    not imported: 2
      [repository]/fixtures/imports/spans-2025.jsonl: line 1, span 3909aa4b10fecc71: the file does not hold `max_tokens`, which every request has
      [repository]/fixtures/imports/spans-2025.jsonl: line 2, span 7a21900590073e6c: the file does not hold `max_tokens`, which every request has
    ");
}

#[test]
fn spans_with_an_attribute_for_each_message_are_read() {
    let sandbox = Sandbox::new();
    let mut lines = older_spans();
    for line in &mut lines {
        attributes(line).push(json!({"key": "gen_ai.request.max_tokens", "value": {"intValue": "9"}}));
    }
    let (said, traces) = imported_spans(&sandbox, &lines);
    assert_eq!(said.matches("1 without the answer's body").count(), 2, "{said}");
    assert_eq!((&traces[0].request.body["system"], traces[0].response.status), (&json!("Be brief."), 200));
    assert_eq!(traces[1].request.body["messages"][2]["content"][0]["tool_use_id"], "toolu_0");
}

#[test]
fn a_request_of_which_a_part_is_cut_is_no_trace() {
    let (mut older, text) = (older_spans(), std::fs::read_to_string(repository("fixtures/imports/spans.jsonl")).unwrap());
    let spans: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    attributes(&mut older[0]).push(json!({"key": "gen_ai.request.max_tokens", "value": {"intValue": "9"}}));
    let cut = |line: &Value, name: &str| {
        let mut line = line.clone();
        attributes(&mut line).retain(|attribute| attribute["key"] != name);
        attributes(&mut line).push(json!({"key": name, "value": {"stringValue": "[{\"type\": \"te"}}));
        line
    };
    let names = ["gen_ai.system_instructions", "gen_ai.tool.definitions", "gen_ai.input.messages"];
    let mut lines: Vec<Value> = names.map(|name| cut(&spans[1], name)).to_vec();
    lines.extend(["gen_ai.prompt.1.content", "llm.request.functions.0.input_schema"].map(|name| cut(&older[0], name)));
    let sandbox = Sandbox::new();
    sandbox.write("spans.jsonl", lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    let said = sandbox.run(&["trace", "import", "spans.jsonl"]).exits(2).stdout;
    insta::assert_snapshot!(said, @"
    not imported: 5
      spans.jsonl: line 1, span 6ffb392801319d27: `gen_ai.system_instructions` is no JSON; a limit on the length of attributes may have cut it
      spans.jsonl: line 2, span 6ffb392801319d27: `gen_ai.tool.definitions` is no JSON; a limit on the length of attributes may have cut it
      spans.jsonl: line 3, span 6ffb392801319d27: `gen_ai.input.messages` is no JSON; a limit on the length of attributes may have cut it
      spans.jsonl: line 4, span 3909aa4b10fecc71: `gen_ai.prompt.1.content` is no JSON; a limit on the length of attributes may have cut it
      spans.jsonl: line 5, span 3909aa4b10fecc71: `llm.request.functions.0.input_schema` is no JSON; a limit on the length of attributes may have cut it
    ");
}

#[test]
fn a_system_prompt_that_is_a_text_alone_stays_one() {
    let sandbox = Sandbox::new();
    let text = std::fs::read_to_string(repository("fixtures/imports/spans.jsonl")).unwrap();
    let mut line: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    attributes(&mut line).retain(|attribute| attribute["key"] != "gen_ai.system_instructions");
    attributes(&mut line).push(json!({"key": "gen_ai.system_instructions", "value": {"stringValue": "[Be] brief."}}));
    let (_, traces) = imported_spans(&sandbox, &[line]);
    assert_eq!(traces[0].request.body["system"], "[Be] brief.");
}

#[test]
fn a_call_that_failed_has_what_its_span_says_of_that() {
    let sandbox = Sandbox::new();
    let text = std::fs::read_to_string(repository("fixtures/imports/spans.jsonl")).unwrap();
    let failed: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let (mut with_status, mut given_up) = (failed.clone(), failed);
    attributes(&mut with_status).push(json!({"key": "http.response.status_code", "value": {"intValue": "529"}}));
    // As an export of traces says it.
    attributes(&mut given_up).retain(|attribute| attribute["key"] != "error.type");
    attributes(&mut given_up).push(json!({"key": "error.type", "value": {"stringValue": "client_closed"}}));
    let (_, traces) = imported_spans(&sandbox, &[with_status, given_up]);
    let outcomes: Vec<_> = traces.iter().map(|trace| (trace.response.status, trace.outcome)).collect();
    assert_eq!(outcomes, [(529, trace::ExchangeOutcome::UpstreamError), (0, trace::ExchangeOutcome::ClientClosed)]);
}

#[test]
fn what_is_exported_as_spans_comes_back() {
    let sandbox = Sandbox::new();
    let folder = repository("traces/edit-file");
    sandbox.run(&["trace", "export", "--to", "otlp", "--out", "spans.jsonl", folder.to_str().unwrap()]).exits(0);
    sandbox.run(&["trace", "import", "--out", "back", "spans.jsonl"]).exits(0);
    sandbox.run(&["trace", "validate", "back"]).exits(0);
    let read = |files: Vec<std::path::PathBuf>| files.iter().map(|file| trace::read(file).unwrap()).collect::<Vec<_>>();
    let sent = read(trace::find(&[folder]).unwrap());
    let sent: Vec<_> = sent.into_iter().filter(trace::asks_for_message).collect();
    let back = read(trace::find(&[sandbox.path("back")]).unwrap());
    assert_eq!((sent.len(), sent.is_empty()), (back.len(), false));
    for (sent, back) in sent.iter().zip(&back) {
        assert_eq!(sent.session, back.session);
        let [took, came_back] = [sent, back].map(|trace| trace.timing.e2e_us.unwrap());
        assert!(took.abs_diff(came_back) <= 1, "{took} {came_back}");
        for field in ["model", "max_tokens", "stream"] {
            assert_eq!(sent.request.body[field], back.request.body[field], "{field}");
        }
        let content = |trace: &trace::Trace| (trace.response.body["content"].clone(), trace.response.body["stop_reason"].clone());
        assert_eq!(content(sent), content(back));
        let turns = |trace: &trace::Trace| trace.request.body["messages"].as_array().unwrap().len();
        assert_eq!(turns(sent), turns(back));
        let names = |trace: &trace::Trace| {
            let tools = trace.request.body["tools"].as_array().cloned().unwrap_or_default();
            tools.into_iter().map(|tool| (tool["name"].clone(), tool["input_schema"].clone())).collect::<Vec<_>>()
        };
        assert_eq!(names(sent), names(back));
    }
}

#[test]
fn calls_that_were_logged_into_several_files_are_imported_once_and_go_on() {
    let sandbox = Sandbox::new();
    let logged: Vec<Value> =
        serde_json::from_slice(&std::fs::read(repository("fixtures/imports/litellm.jsonl")).unwrap()).unwrap();
    let call = |start: f64, text: &str| {
        let mut call = logged[0].clone();
        (call["startTime"], call["endTime"]) = (json!(start), json!(start + 1.0));
        call["messages"][1]["content"] = json!(text);
        format!("{call}\n")
    };
    let (first, second, third) = (call(1e9, "One"), call(1e9 + 10.0, "Two"), call(1e9 + 20.0, "Three"));
    sandbox.write("monday.jsonl", [first.as_str(), &second].concat());
    sandbox.write("tuesday.jsonl", [second.as_str(), &third].concat());
    for (file, exchanges) in [("monday.jsonl", 2), ("tuesday.jsonl", 2), ("monday.jsonl", 2)] {
        let said = sandbox.run(&["trace", "import", file]).exits(0).stdout;
        assert!(said.contains(&format!("traces/demo: {exchanges} exchanges")), "{said}");
    }
    let files = trace::find(&[sandbox.path("traces")]).unwrap();
    let traces: Vec<_> = files.iter().map(|file| trace::read(file).unwrap()).collect();
    let asked: Vec<_> = traces.iter().map(|trace| trace.request.body["messages"][0]["content"].as_str().unwrap()).collect();
    assert_eq!(asked, ["One", "Two", "Three"]);
}

#[test]
fn an_exchange_that_another_file_gave_before_is_passed_over() {
    let sandbox = Sandbox::new();
    // Nothing in it names a session, so that is the file's name.
    let archive = std::fs::read(repository("fixtures/imports/chromium.har")).unwrap();
    sandbox.write("one.har", &archive);
    sandbox.write("copy.har", &archive);
    sandbox.run(&["trace", "import", "one.har"]).exits(0);
    let said = sandbox.run(&["trace", "import", "copy.har"]).exits(2).stdout;
    insta::assert_snapshot!(said, @"
    there already, and passed over: 4 exchanges of copy.har
    passed over what is no call of a model: 1
    ");
    assert!(!sandbox.path("traces/copy").exists());
}

#[test]
fn a_span_that_cannot_be_read_is_no_reason_to_lose_its_line() {
    let sandbox = Sandbox::new();
    let text = std::fs::read_to_string(repository("fixtures/imports/spans.jsonl")).unwrap();
    let mut line: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    attributes(&mut line).push(json!({"key": "note", "value": {"stringValue": "half of one"}}));
    let spans = line["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array_mut().unwrap();
    spans.insert(0, json!({"name": "GET", "traceId": null, "spanId": "x"}));
    // Half of an emoji, as Python writes it.
    let text = line.to_string().replace("half of one", "\\ud83d");
    sandbox.write("spans.jsonl", text);
    let said = sandbox.run(&["trace", "import", "spans.jsonl"]).exits(0).stdout;
    insta::assert_snapshot!(said, @"
    traces/537958107741503d1725e238560499a7: 1 exchange
    OpenTelemetry's spans of generative AI, OTLP/JSON do not hold: events and their times, headers, fields of requests and blocks without a convention
    not imported: 1
      spans.jsonl: line 1, span 1 of the line: no span in OTLP/JSON: invalid type: null, expected a string at line 1 column 28
    ");
}
