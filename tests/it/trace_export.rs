//! `anyclaude trace export`: traces as other tools' files.

use std::collections::HashSet;
use std::path::Path;

use anyclaude::trace::{self, Trace, recorded_message};
use serde_json::{Value, json};

use crate::support::sandbox::{Sandbox, repository};

fn traces(folder: &Path) -> Vec<Trace> {
    trace::find(&[folder.to_owned()]).unwrap().iter().map(|file| trace::read(file).unwrap()).collect()
}

#[test]
fn traces_come_back_from_an_archive_as_they_were() {
    let sandbox = Sandbox::new();
    let committed = repository("traces");
    let said = sandbox.run(&["trace", "export", "--to", "har", "--out", "all.har", committed.to_str().unwrap()]).exits(0).stdout;
    let originals = traces(&committed);
    assert_eq!(said, format!("all.har: {} exchanges\n", originals.len()));
    sandbox.run(&["trace", "import", "all.har"]).exits(0);
    let imported = traces(&sandbox.path("traces"));
    assert_eq!(imported.len(), originals.len());
    for (imported, original) in imported.iter().zip(&originals) {
        assert_eq!(imported, original);
    }
    assert!(originals.iter().any(|trace| !trace.response.events.is_empty()));
}

#[test]
fn an_archive_has_all_that_the_format_asks_for() {
    let sandbox = Sandbox::new();
    let file = repository("traces/read-file/0001.json");
    sandbox.run(&["trace", "export", "--to", "har", "--out", "one.har", file.to_str().unwrap()]).exits(0);
    let archive: Value = serde_json::from_str(&sandbox.read("one.har")).unwrap();
    assert_eq!((&archive["log"]["version"], &archive["log"]["creator"]["name"]), (&json!("1.2"), &json!("anyclaude")));
    let entry = &archive["log"]["entries"][0];
    let trace = trace::read(&file).unwrap();
    assert_eq!(entry["request"]["postData"]["text"].as_str().unwrap(), trace.request.body.to_string());
    let timings = &entry["timings"];
    let parts: f64 = ["send", "wait", "receive"].iter().map(|part| timings[part].as_f64().unwrap()).sum();
    assert!((entry["time"].as_f64().unwrap() - parts).abs() < 1e-6, "{timings}");
    let text = entry["response"]["content"]["text"].as_str().unwrap();
    assert!(text.starts_with("event: message_start\ndata: {"), "{text}");
    assert_eq!(text.matches("\n\n").count(), trace.response.events.len());
}

#[test]
fn a_span_has_what_the_conventions_for_generative_ai_name() {
    let sandbox = Sandbox::new();
    sandbox.run(&["trace", "import", repository("fixtures/imports/flows.mitm").to_str().unwrap()]).exits(0);
    let said = sandbox.run(&["trace", "export", "--to", "otlp", "--out", "spans.jsonl"]).exits(0).stdout;
    assert_eq!(said, "spans.jsonl: 4 exchanges\nnot exported, since they ask for no answer of a model: 1\n");
    let lines = sandbox.read("spans.jsonl");
    let spans: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let span = &spans[0]["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    let took = ["startTimeUnixNano", "endTimeUnixNano"].map(|field| span[field].as_str().unwrap().parse::<u64>().unwrap());
    let e2e_us = trace::read(&sandbox.path("traces/demo/0001.json")).unwrap().timing.e2e_us.unwrap();
    assert_eq!(took[1] - took[0], e2e_us * 1_000);
    let head = ["traceId", "spanId", "name", "kind", "status"].map(|field| format!("{field}: {}", span[field]));
    let attributes = span["attributes"].as_array().unwrap().iter();
    let attributes = attributes.map(|attribute| format!("{}: {}", attribute["key"].as_str().unwrap(), attribute["value"]));
    insta::assert_snapshot!(head.into_iter().chain(attributes).collect::<Vec<_>>().join("\n"), @r#"
    traceId: "2a97516c354b68848cdbd8f54a226a0a"
    spanId: "3a665d89cd918098"
    name: "chat tiny"
    kind: 3
    status: {}
    gen_ai.operation.name: {"stringValue":"chat"}
    gen_ai.provider.name: {"stringValue":"anthropic"}
    gen_ai.conversation.id: {"stringValue":"demo"}
    gen_ai.request.model: {"stringValue":"tiny"}
    gen_ai.request.max_tokens: {"intValue":"9"}
    gen_ai.request.stream: {"boolValue":true}
    gen_ai.response.id: {"stringValue":"msg_1"}
    gen_ai.response.model: {"stringValue":"tiny"}
    gen_ai.response.finish_reasons: {"arrayValue":{"values":[{"stringValue":"tool_call"}]}}
    gen_ai.usage.input_tokens: {"intValue":"7"}
    gen_ai.usage.output_tokens: {"intValue":"9"}
    gen_ai.input.messages: {"stringValue":"[{\"role\":\"user\",\"parts\":[{\"type\":\"text\",\"content\":\"Read é.txt with [redacted]\"}]}]"}
    gen_ai.output.messages: {"stringValue":"[{\"role\":\"assistant\",\"parts\":[{\"type\":\"tool_call\",\"id\":\"toolu_1\",\"name\":\"Read\",\"arguments\":{\"file_path\":\"é.txt\"}}],\"finish_reason\":\"tool_call\"}]"}
    gen_ai.tool.definitions: {"stringValue":"[{\"type\":\"function\",\"name\":\"Read\",\"description\":\"Reads.\",\"parameters\":{\"type\":\"object\",\"properties\":{\"file_path\":{\"type\":\"string\"}}}}]"}
    server.address: {"stringValue":"127.0.0.1"}
    server.port: {"intValue":"9788"}
    "#);
    let failed = spans.iter().map(|line| &line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]);
    let errors: Vec<_> = failed.filter(|span| span["status"]["code"] == 2).map(|span| attribute(span, "error.type")).collect();
    assert_eq!(errors, [json!({"stringValue": "truncated"}), json!({"stringValue": "overloaded_error"})]);
}

#[test]
fn what_was_imported_and_exported_comes_back_as_it_was() {
    let sandbox = Sandbox::new();
    sandbox.run(&["trace", "import", repository("fixtures/imports/flows.mitm").to_str().unwrap()]).exits(0);
    // One that begins in the middle of its session.
    std::fs::remove_file(sandbox.path("traces/demo/0001.json")).unwrap();
    let originals = traces(&sandbox.path("traces"));
    sandbox.run(&["trace", "export", "--to", "har", "--out", "all.har"]).exits(0);
    let said = sandbox.run(&["trace", "import", "--out", "again", "all.har"]).exits(0).stdout;
    insta::assert_snapshot!(said, @"
    again/demo: 1 exchange
    again/demo-agent-a1: 1 exchange
    again/flows: 2 exchanges
    ");
    assert_eq!(traces(&sandbox.path("again")), originals);
    assert!(sandbox.path("again/demo/0002.json").exists());
}

#[test]
fn sessions_of_one_name_in_two_folders_stay_two() {
    let sandbox = Sandbox::new();
    for folder in ["one", "two"] {
        let file = repository("fixtures/imports/flows.mitm");
        sandbox.run(&["trace", "import", "--out", folder, file.to_str().unwrap()]).exits(0);
    }
    let exported = |format: &str| {
        sandbox.run(&["trace", "export", "--to", format, "--out", "out", "one", "two"]).exits(0);
        sandbox.read("out").lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let sessions = |lines: &[Value], field: &str| lines.iter().map(|line| line[field].clone()).collect::<Vec<_>>();
    assert_eq!(sessions(&exported("weka"), "id"), ["demo", "demo-2"]);
    assert_eq!(sessions(&exported("atif"), "trajectory_id"), ["demo/0001", "demo-2/0001", "demo/0002", "demo-2/0002"]);
    let spans = exported("otlp");
    let ids = spans.iter().map(|line| line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"].as_str().unwrap());
    assert_eq!(ids.collect::<std::collections::HashSet<_>>().len(), spans.len());
}

#[test]
fn a_conversation_is_a_line_of_chat_messages() {
    let sandbox = Sandbox::new();
    sandbox.run(&["trace", "import", repository("fixtures/imports/flows.mitm").to_str().unwrap()]).exits(0);
    let said = sandbox.run(&["trace", "export", "--to", "openai", "--out", "chat.jsonl"]).exits(0).stdout;
    assert_eq!(said, "chat.jsonl: 2 exchanges\nnot exported, since they have no whole answer in Anthropic's protocol: 3\n");
    insta::assert_snapshot!(sandbox.read("chat.jsonl").lines().next().unwrap(), @r#"{"messages":[{"role":"user","content":"Read é.txt with [redacted]"},{"role":"assistant","content":null,"tool_calls":[{"id":"toolu_1","type":"function","function":{"name":"Read","arguments":"{\"file_path\":\"é.txt\"}"}}]}],"tools":[{"type":"function","function":{"name":"Read","description":"Reads.","parameters":{"type":"object","properties":{"file_path":{"type":"string"}}}}}]}"#);
}

#[test]
fn an_arrival_has_lengths_and_the_numbers_of_blocks() {
    let sandbox = Sandbox::new();
    let committed = repository("traces/follow-up");
    let said = sandbox.run(&["trace", "export", "--to", "mooncake", "--out", "arrivals.jsonl", committed.to_str().unwrap()]);
    let said = said.exits(0);
    assert_eq!(said.stdout, "arrivals.jsonl: 4 exchanges\n");
    insta::assert_snapshot!(said.stderr, @"prompts are counted by an estimate, a token for every four bytes; --model counts in a model's own tokens");
    let lines: Vec<Value> = sandbox.read("arrivals.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut last = 0;
    for (line, trace) in lines.iter().zip(traces(&committed)) {
        let blocks: Vec<u64> = line["hash_ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        assert_eq!(blocks.len() as u64, line["input_length"].as_u64().unwrap().div_ceil(512));
        assert_eq!(line["output_length"], trace.response.body["usage"]["output_tokens"]);
        // The tools and the system prompt are the same in all of them.
        assert_eq!(blocks[..15], (0..15).collect::<Vec<_>>());
        let timestamp = line["timestamp"].as_u64().unwrap();
        assert!(timestamp >= last);
        last = timestamp;
    }
    assert_eq!((lines[0]["timestamp"].as_u64(), lines.len()), (Some(0), 4));
}

#[test]
fn a_session_is_a_line_of_times_lengths_and_blocks() {
    let sandbox = Sandbox::new();
    let committed = repository("traces/follow-up");
    let said = sandbox.run(&["trace", "export", "--to", "weka", "--out", "weka.jsonl", committed.to_str().unwrap()]).exits(0);
    assert_eq!(said.stdout, "weka.jsonl: 4 exchanges\n");
    let text = sandbox.read("weka.jsonl");
    let session: Value = serde_json::from_str(text.strip_suffix('\n').unwrap()).unwrap();
    let head = ["id", "models", "block_size", "hash_id_scope"].map(|field| session[field].to_string());
    assert_eq!(head, ["\"follow-up\"", "[\"claude-opus-5-5\"]", "64", "\"local\""]);
    let requests = session["requests"].as_array().unwrap();
    let (mut began, mut answered) = (0.0, 0.0);
    for (request, trace) in requests.iter().zip(traces(&committed)) {
        let number = |field: &str| request[field].as_f64().unwrap();
        let blocks: Vec<u64> = request["hash_ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        assert_eq!(blocks.len() as u64, request["in"].as_u64().unwrap().div_ceil(64));
        // The tools and the system prompt are the same in all of them.
        assert_eq!(blocks[..120], (1..=120).collect::<Vec<_>>());
        assert_eq!(request["out"], trace.response.body["usage"]["output_tokens"]);
        assert_eq!((&request["type"], &request["stop"]), (&json!("s"), &trace.response.body["stop_reason"]));
        assert!((number("api_time") * 1e6 - trace.timing.e2e_us.unwrap() as f64).abs() < 1.0);
        assert!((number("ttft") * 1e6 - trace.timing.ttft_us.unwrap() as f64).abs() < 1.0);
        assert!(number("t") >= began && (number("think_time") - f64::max(number("t") - answered, 0.0)).abs() < 1e-3);
        (began, answered) = (number("t"), f64::max(answered, number("t") + number("api_time")));
    }
    assert_eq!((requests.len(), requests[0]["t"].as_f64()), (4, Some(0.0)));
}

#[test]
fn a_conversation_is_a_trajectory_of_steps() {
    let sandbox = Sandbox::new();
    sandbox.run(&["trace", "import", repository("fixtures/imports/flows.mitm").to_str().unwrap()]).exits(0);
    let said = sandbox.run(&["trace", "export", "--to", "atif", "--out", "steps.jsonl"]).exits(0).stdout;
    assert_eq!(said, "steps.jsonl: 2 exchanges\nnot exported, since they have no whole answer in Anthropic's protocol: 3\n");
    let lines = sandbox.read("steps.jsonl");
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    insta::assert_snapshot!(format!("{first:#}"), @r#"
    {
      "schema_version": "ATIF-v1.7",
      "session_id": "demo",
      "trajectory_id": "demo/0001",
      "agent": {
        "name": "claude-cli",
        "version": "2.1.331",
        "model_name": "tiny"
      },
      "final_metrics": {
        "total_prompt_tokens": 7,
        "total_completion_tokens": 9,
        "total_cached_tokens": 0,
        "total_steps": 2
      },
      "steps": [
        {
          "step_id": 1,
          "timestamp": "2026-11-29T23:00:41.116175Z",
          "source": "user",
          "message": "Read é.txt with [redacted]"
        },
        {
          "step_id": 2,
          "timestamp": "2026-11-29T23:00:41.118567Z",
          "source": "agent",
          "message": "",
          "tool_calls": [
            {
              "tool_call_id": "toolu_1",
              "function_name": "Read",
              "arguments": {
                "file_path": "é.txt"
              }
            }
          ],
          "model_name": "tiny",
          "metrics": {
            "prompt_tokens": 7,
            "completion_tokens": 9,
            "cached_tokens": 0
          }
        }
      ]
    }
    "#);
}

/// What a call came to stands beside it, and no message twice.
#[test]
fn every_step_of_a_session_is_in_its_trajectory_once() {
    let sandbox = Sandbox::new();
    let committed = repository("traces");
    sandbox.run(&["trace", "export", "--to", "atif", "--out", "steps.jsonl", committed.to_str().unwrap()]).exits(0);
    let text = sandbox.read("steps.jsonl");
    let trajectories: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps = || trajectories.iter().flat_map(|trajectory| trajectory["steps"].as_array().unwrap());
    let count = |field: &str| steps().filter_map(|step| step["metrics"][field].as_u64()).sum::<u64>();
    let answers = traces(&committed).iter().filter(|trace| recorded_message(trace).is_some()).count();
    assert_eq!(steps().filter(|step| step["metrics"].is_object()).count(), answers);
    let of = |usage: &str| traces(&committed).iter().filter_map(|t| t.response.body["usage"][usage].as_u64()).sum::<u64>();
    assert_eq!(count("completion_tokens"), of("output_tokens"));
    for trajectory in &trajectories {
        let ids = trajectory["steps"].as_array().unwrap().iter().map(|step| step["step_id"].as_u64().unwrap());
        assert!(ids.eq(1..=trajectory["final_metrics"]["total_steps"].as_u64().unwrap()));
    }
    // What a client says stands in the last request of its conversation, which the trajectory ends with.
    for trajectory in &trajectories {
        let said = || trajectory["steps"].as_array().unwrap().iter().filter(|step| step["source"] != "agent");
        let distinct: HashSet<String> = said().map(|step| step["message"].to_string()).collect();
        assert_eq!(said().count(), distinct.len(), "{trajectory:#}");
    }
    let mut results = 0;
    for step in steps() {
        let calls: Vec<_> = step["tool_calls"].as_array().into_iter().flatten().map(|call| &call["tool_call_id"]).collect();
        for result in step["observation"]["results"].as_array().into_iter().flatten() {
            results += 1;
            assert!(calls.contains(&&result["source_call_id"]), "{step}");
        }
    }
    // All nine calls of the committed traces have a result.
    assert_eq!(results, 9);
}

fn attribute(span: &Value, name: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    attributes.iter().find(|attribute| attribute["key"] == name).map_or(Value::Null, |attribute| attribute["value"].clone())
}
