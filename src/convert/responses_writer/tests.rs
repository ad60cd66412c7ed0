use serde_json::json;

use super::super::from_responses;
use super::*;
use crate::wire::Assembler;

fn events(blocks: &[(Value, &[Value])], stop_reason: &str) -> Vec<StreamEvent> {
    let message = json!({"id": "msg_1", "role": "assistant", "model": "m", "content": [],
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 30, "output_tokens": 1}});
    let mut events = vec![json!({"type": "message_start", "message": message}), json!({"type": "ping"})];
    for (index, (block, deltas)) in blocks.iter().enumerate() {
        events.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        events.extend(deltas.iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})));
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    let delta = json!({"stop_reason": stop_reason, "stop_sequence": null});
    events.push(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7}}));
    events.push(json!({"type": "message_stop"}));
    events.into_iter().map(|event| serde_json::from_value(event).unwrap()).collect()
}

fn thought(text: &str) -> Value {
    json!({"type": "thinking_delta", "thinking": text})
}

fn text(text: &str) -> Value {
    json!({"type": "text_delta", "text": text})
}

fn arguments(json: &str) -> Value {
    json!({"type": "input_json_delta", "partial_json": json})
}

fn call(id: &str, name: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": name, "input": {}})
}

fn writer() -> ResponseWriter {
    let request = json!({"model": "gpt-9", "input": "Hi", "temperature": 0.7, "tools": [{"type": "custom", "name": "patch"}]});
    let read = from_responses(serde_json::from_value(request).unwrap()).unwrap();
    // Settings are the same in every event.
    let settings = Map::from_iter([("temperature".to_owned(), read.settings["temperature"].clone())]);
    ResponseWriter::new("resp_1".into(), 5, "gpt-9".into(), settings, read.names)
}

/// The events of a stream, and the whole response that the same answer makes.
fn written(events: &[StreamEvent]) -> (Vec<Value>, Value) {
    let mut streaming = writer();
    let numbered = events.iter().flat_map(|event| streaming.push(event));
    let numbered = numbered.map(|event| serde_json::to_value(event).unwrap()).collect();
    let mut assembler = Assembler::default();
    for event in events {
        assembler.push(event).unwrap();
    }
    let whole = serde_json::to_value(writer().whole(&assembler.finish().unwrap())).unwrap();
    (numbered, whole)
}

/// An event as one line: the number, the type, and the other fields; of a response only the status.
fn line(event: &Value) -> String {
    let mut fields = event.as_object().unwrap().clone();
    let number = fields.remove("sequence_number").unwrap();
    let kind = fields.remove("type").unwrap();
    let rest = match fields.get("response") {
        Some(response) => response["status"].to_string(),
        None => Value::Object(fields).to_string(),
    };
    format!("{number} {} {rest}", kind.as_str().unwrap().trim_start_matches("response."))
}

#[test]
fn an_answer_becomes_items_in_the_documented_order() {
    let events = events(
        &[
            (json!({"type": "thinking", "thinking": "", "signature": ""}), &[thought("Hm"), thought(".")]),
            (json!({"type": "text", "text": ""}), &[text("Read"), text("ing.")]),
            (call("t1", "Read"), &[arguments("{\"path\""), arguments(":\"a\"}")]),
            (call("t2", "Now"), &[]),
            (call("t3", "patch"), &[arguments("{\"input\""), arguments(":\"+ a\"}")]),
        ],
        "tool_use",
    );
    let (events, mut whole) = written(&events);
    insta::assert_snapshot!(events.iter().map(line).collect::<Vec<_>>().join("\n"), @r#"
    0 created "in_progress"
    1 in_progress "in_progress"
    2 output_item.added {"item":{"type":"reasoning","id":"rs_1_0","status":"in_progress","summary":[],"content":[]},"output_index":0}
    3 content_part.added {"part":{"type":"reasoning_text","text":""},"item_id":"rs_1_0","output_index":0,"content_index":0}
    4 reasoning_text.delta {"delta":"Hm","item_id":"rs_1_0","output_index":0,"content_index":0}
    5 reasoning_text.delta {"delta":".","item_id":"rs_1_0","output_index":0,"content_index":0}
    6 reasoning_text.done {"text":"Hm.","item_id":"rs_1_0","output_index":0,"content_index":0}
    7 content_part.done {"part":{"type":"reasoning_text","text":"Hm."},"item_id":"rs_1_0","output_index":0,"content_index":0}
    8 output_item.done {"item":{"type":"reasoning","id":"rs_1_0","status":"completed","summary":[],"content":[{"type":"reasoning_text","text":"Hm."}]},"output_index":0}
    9 output_item.added {"item":{"type":"message","id":"msg_1_1","status":"in_progress","role":"assistant","content":[]},"output_index":1}
    10 content_part.added {"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]},"item_id":"msg_1_1","output_index":1,"content_index":0}
    11 output_text.delta {"logprobs":[],"item_id":"msg_1_1","output_index":1,"content_index":0,"delta":"Read"}
    12 output_text.delta {"logprobs":[],"item_id":"msg_1_1","output_index":1,"content_index":0,"delta":"ing."}
    13 output_text.done {"logprobs":[],"item_id":"msg_1_1","output_index":1,"content_index":0,"text":"Reading."}
    14 content_part.done {"part":{"type":"output_text","text":"Reading.","annotations":[],"logprobs":[]},"item_id":"msg_1_1","output_index":1,"content_index":0}
    15 output_item.done {"item":{"type":"message","id":"msg_1_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Reading.","annotations":[],"logprobs":[]}]},"output_index":1}
    16 output_item.added {"item":{"type":"function_call","id":"fc_1_2","status":"in_progress","call_id":"t1","name":"Read","arguments":""},"output_index":2}
    17 function_call_arguments.delta {"delta":"{\"path\"","item_id":"fc_1_2","output_index":2}
    18 function_call_arguments.delta {"delta":":\"a\"}","item_id":"fc_1_2","output_index":2}
    19 function_call_arguments.done {"arguments":"{\"path\":\"a\"}","item_id":"fc_1_2","output_index":2,"name":"Read"}
    20 output_item.done {"item":{"type":"function_call","id":"fc_1_2","status":"completed","call_id":"t1","name":"Read","arguments":"{\"path\":\"a\"}"},"output_index":2}
    21 output_item.added {"item":{"type":"function_call","id":"fc_1_3","status":"in_progress","call_id":"t2","name":"Now","arguments":""},"output_index":3}
    22 function_call_arguments.delta {"delta":"{}","item_id":"fc_1_3","output_index":3}
    23 function_call_arguments.done {"arguments":"{}","item_id":"fc_1_3","output_index":3,"name":"Now"}
    24 output_item.done {"item":{"type":"function_call","id":"fc_1_3","status":"completed","call_id":"t2","name":"Now","arguments":"{}"},"output_index":3}
    25 output_item.added {"item":{"type":"custom_tool_call","id":"ctc_1_4","status":"in_progress","call_id":"t3","name":"patch","input":""},"output_index":4}
    26 custom_tool_call_input.delta {"delta":"+ a","item_id":"ctc_1_4","output_index":4}
    27 custom_tool_call_input.done {"input":"+ a","item_id":"ctc_1_4","output_index":4}
    28 output_item.done {"item":{"type":"custom_tool_call","id":"ctc_1_4","status":"completed","call_id":"t3","name":"patch","input":"+ a"},"output_index":4}
    29 completed "completed"
    "#);
    assert_eq!(events.last().unwrap()["response"], whole);
    whole["output"].take();
    insta::assert_json_snapshot!(whole, @r#"
    {
      "id": "resp_1",
      "object": "response",
      "created_at": 5,
      "status": "completed",
      "error": null,
      "incomplete_details": null,
      "model": "m",
      "output": null,
      "usage": {
        "input_tokens": 40,
        "input_tokens_details": {
          "cached_tokens": 30
        },
        "output_tokens": 7,
        "output_tokens_details": {
          "reasoning_tokens": 0
        },
        "total_tokens": 47
      },
      "temperature": 0.7
    }
    "#);
}

#[test]
fn a_cut_answer_is_incomplete_and_nothing_of_its_call_is_done() {
    let cut = |block: Value, deltas: &[Value]| {
        let (events, whole) = written(&events(&[(block, deltas)], "max_tokens"));
        let last = events.last().unwrap();
        assert_eq!((&last["type"], &last["response"]), (&json!("response.incomplete"), &whole));
        assert_eq!(whole["incomplete_details"]["reason"], "max_output_tokens");
        let is_done = |event: &Value| line(event).contains("arguments.done") || line(event).contains("input.done");
        assert!(!events.iter().any(is_done), "{events:?}");
        whole["output"][0].clone()
    };
    let items = [
        cut(json!({"type": "text", "text": ""}), &[text("Rea")]),
        cut(call("t1", "Bash"), &[arguments("{\"command\": \"rm -rf /")]),
        cut(call("t1", "Bash"), &[]),
        cut(call("t1", "patch"), &[arguments("{\"input\": \"*** Beg")]),
    ];
    let lines: Vec<String> = items.iter().map(Value::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"type":"message","id":"msg_1_0","status":"incomplete","role":"assistant","content":[{"type":"output_text","text":"Rea","annotations":[],"logprobs":[]}]}
    {"type":"function_call","id":"fc_1_0","status":"incomplete","call_id":"t1","name":"Bash","arguments":"{\"command\": \"rm -rf /"}
    {"type":"function_call","id":"fc_1_0","status":"incomplete","call_id":"t1","name":"Bash","arguments":""}
    {"type":"custom_tool_call","id":"ctc_1_0","status":"incomplete","call_id":"t1","name":"patch","input":""}
    "#);
}

#[test]
fn an_error_in_mid_stream_is_a_failed_response() {
    let mut writer = writer();
    let events = events(&[(json!({"type": "text", "text": ""}), &[text("Hi")])], "end_turn");
    for event in &events[..4] {
        writer.push(event);
    }
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}});
    let failed = writer.push(&serde_json::from_value(error).unwrap());
    let frame = failed[0].encode();
    let (name, data) = std::str::from_utf8(&frame).unwrap().split_once('\n').unwrap();
    let data: Value = serde_json::from_str(data.trim().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((name, &data["sequence_number"]), ("event: response.failed", &json!(5)));
    assert_eq!(data["response"]["error"], json!({"code": "service_unavailable", "message": "busy"}));
    assert_eq!(data["response"]["status"], "failed");
}
