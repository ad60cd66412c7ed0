//! What observability tools log. fixtures/imports/README.md says how the files were made.

use anyclaude::trace;

use super::http::{imported, outline};
use crate::support::sandbox::{Sandbox, repository};

#[test]
fn what_litellms_callback_posted_is_read() {
    let (said, traces) = imported("litellm.jsonl");
    insta::assert_snapshot!(said, @"
    traces/demo: 1 exchange
    traces/litellm: 3 exchanges
      1 without the answer's body
    LiteLLM's logs do not hold: events and their times, most headers, how the answer's text and calls are ordered
    ");
    insta::assert_snapshot!(outline(&traces), @r#"
    demo/1 /v1/messages "Read é.txt" 200 Complete [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    litellm/1 /v1/messages "Read é.txt" 200 Complete [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    litellm/2 /v1/messages "Hi" 500 UpstreamError null
    litellm/3 /v1/chat/completions "Be brief." 200 Complete null
    "#);
    assert_eq!(traces[0].request.body["system"], "Be brief.");
    assert_eq!(traces[0].response.body["stop_reason"], "tool_use");
}

#[test]
fn the_spans_of_an_instrumentation_are_read() {
    let (said, traces) = imported("spans.jsonl");
    insta::assert_snapshot!(said, @"
    traces/spans: 3 exchanges
      1 without the answer
    OpenTelemetry's spans of generative AI, OTLP/JSON do not hold: events and their times, headers, fields of requests and blocks without a convention
    ");
    insta::assert_snapshot!(outline(&traces), @r#"
    spans/1 /v1/messages [{"type":"text","text":"Read é.txt"}] 200 Complete [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    spans/2 /v1/messages [{"type":"text","text":"Read é.txt"}] 200 Complete [{"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"é.txt"}}]
    spans/3 /v1/messages [{"type":"text","text":"Hi"}] 0 Truncated null
    "#);
    assert_eq!(traces[0].request.body["system"][0]["text"], "Be brief.");
    assert_eq!(traces[0].request.body["tools"][0]["input_schema"]["required"][0], "file_path");
    assert_eq!(traces[1].request.body["messages"][2]["content"][0]["tool_use_id"], "toolu_0");
}

#[test]
fn spans_with_an_attribute_for_each_message_are_read() {
    let sandbox = Sandbox::new();
    let file = repository("fixtures/imports/spans-2025.jsonl");
    let said = sandbox.run(&["trace", "import", file.to_str().unwrap()]).exits(0).stdout;
    assert!(said.contains("traces/spans-2025: 2 exchanges") && said.contains("2 without max_tokens"), "{said}");
    let files = trace::find(&[sandbox.path("traces")]).unwrap();
    let traces: Vec<_> = files.iter().map(|file| trace::read(file).unwrap()).collect();
    assert_eq!(traces[0].request.body["system"], "Be brief.");
    assert_eq!(traces[1].request.body["messages"][2]["content"][0]["tool_use_id"], "toolu_0");
}

#[test]
fn what_is_exported_as_spans_comes_back() {
    let sandbox = Sandbox::new();
    let folder = repository("traces/edit-file");
    sandbox.run(&["trace", "export", "--to", "otlp", "--out", "spans.jsonl", folder.to_str().unwrap()]).exits(0);
    sandbox.run(&["trace", "import", "--out", "back", "spans.jsonl"]).exits(0);
    let read = |files: Vec<std::path::PathBuf>| files.iter().map(|file| trace::read(file).unwrap()).collect::<Vec<_>>();
    let sent = read(trace::find(&[folder]).unwrap());
    let sent: Vec<_> = sent.into_iter().filter(trace::Trace::is_messages).collect();
    let back = read(trace::find(&[sandbox.path("back")]).unwrap());
    assert_eq!((sent.len(), sent.is_empty()), (back.len(), false));
    for (sent, back) in sent.iter().zip(&back) {
        assert_eq!(sent.session, back.session);
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
