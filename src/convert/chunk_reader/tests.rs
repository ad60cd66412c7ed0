use super::super::tests::{delta, request};
use super::*;
use crate::wire::Assembler;
use serde_json::{Value, json};

/// All events of a stream of these chunks and `[DONE]`.
fn events(chunks: &[Value]) -> Vec<StreamEvent> {
    let mut reader = ChunkReader::new(&request(json!([])));
    let mut events = Vec::new();
    for chunk in chunks {
        events.extend(reader.push(serde_json::from_value(chunk.clone()).unwrap()));
    }
    events.extend(reader.done());
    events
}

/// The content without ids and signatures, the stop reason, and the message itself.
fn message(chunks: &[Value]) -> (Value, String, Message) {
    let mut assembler = Assembler::default();
    for event in events(chunks) {
        assembler.push(&event).unwrap();
    }
    let message = assembler.finish().unwrap();
    let mut content = serde_json::to_value(&message.content).unwrap();
    for block in content.as_array_mut().unwrap() {
        block.as_object_mut().unwrap().retain(|name, _| name != "id" && name != "signature");
    }
    let reason = serde_json::to_value(&message.stop_reason).unwrap().as_str().unwrap().to_owned();
    (content, reason, message)
}

fn finish(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn call(index: Value, id: Value, name: Value, arguments: Value) -> Value {
    delta(
        json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]}),
    )
}

fn read(path: &str) -> Value {
    json!({"type": "tool_use", "name": "Read", "input": {"path": path}})
}

#[test]
fn reasoning_text_and_a_call_become_blocks() {
    let (content, reason, message) = message(&[
        delta(json!({"role": "assistant", "content": ""})),
        delta(json!({"reasoning": "A ", "content": ""})),
        delta(json!({"reasoning_content": "file."})),
        delta(json!({"content": "Let me "})),
        delta(json!({"content": "look."})),
        call(json!(0), json!("call_9"), json!("Read"), json!("")),
        call(json!(0), Value::Null, Value::Null, json!("{\"path\":")),
        call(json!(0), Value::Null, Value::Null, json!("\"a\"}")),
        finish("tool_calls"),
        json!({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 15}}}),
    ]);
    let text = json!({"type": "text", "text": "Let me look."});
    assert_eq!(content, json!([{"type": "thinking", "thinking": "A file."}, text, read("a")]));
    assert_eq!(reason, "tool_use");
    let ContentBlock::ToolUse { id, .. } = &message.content[2] else { panic!("{message:?}") };
    assert_eq!(id, "call_9");
    let usage = message.usage;
    assert_eq!((usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens), (5, Some(15), 7));
}

#[test]
fn quirks_of_calls_are_understood() {
    let (none, a, b) = (Value::Null, json!("{\"path\":\"a\"}"), json!("{\"path\":\"b\"}"));
    let name = json!("Read");
    let two = json!([read("a"), read("b")]);
    for (what, chunks, expected) in [
        (
            "arguments in one piece, reason stop",
            vec![call(json!(0), json!("x"), name.clone(), a.clone()), finish("stop")],
            json!([read("a")]),
        ),
        ("no id", vec![call(json!(0), none.clone(), name.clone(), a.clone())], json!([read("a")])),
        (
            "the name late, after the arguments",
            vec![call(json!(0), json!("x"), none.clone(), a.clone()), call(json!(0), none.clone(), name.clone(), none.clone())],
            json!([read("a")]),
        ),
        (
            "id and name in every piece",
            vec![
                call(json!(0), json!("x"), name.clone(), json!("{\"path\"")),
                call(json!(0), json!("x"), name.clone(), json!(":\"a\"}")),
                call(json!(0), json!("x"), name.clone(), json!("")),
            ],
            json!([read("a")]),
        ),
        (
            "two calls whose pieces are mixed",
            vec![
                call(json!(0), json!("x"), name.clone(), json!("{\"path\"")),
                call(json!(1), json!("y"), name.clone(), json!("{\"path\":\"b")),
                call(json!(0), none.clone(), none.clone(), json!(":\"a\"}")),
                call(json!(1), none.clone(), none.clone(), json!("\"}")),
            ],
            two.clone(),
        ),
        (
            "two calls with the same index",
            vec![call(json!(0), json!("x"), name.clone(), a.clone()), call(json!(0), json!("y"), name.clone(), b.clone())],
            two.clone(),
        ),
        (
            "two calls without index and id",
            vec![
                call(none.clone(), none.clone(), name.clone(), a.clone()),
                call(none.clone(), none.clone(), name.clone(), b.clone()),
            ],
            two.clone(),
        ),
        (
            "two calls with the same id",
            vec![call(json!(0), json!("x"), name.clone(), a.clone()), call(json!(1), json!("x"), name.clone(), b.clone())],
            two.clone(),
        ),
        ("arguments as an object", vec![call(json!(0), json!("x"), name.clone(), json!({"path": "a"}))], json!([read("a")])),
        (
            "no arguments",
            vec![call(json!(0), json!("x"), name.clone(), json!("null"))],
            json!([{"type": "tool_use", "name": "Read", "input": {}}]),
        ),
        (
            "text after an unfinished call waits",
            vec![
                call(json!(0), json!("x"), name.clone(), json!("{\"path\"")),
                delta(json!({"content": "Also:"})),
                call(json!(0), none.clone(), none.clone(), json!(":\"a\"}")),
            ],
            json!([read("a"), {"type": "text", "text": "Also:"}]),
        ),
        (
            "white space before a call is no text",
            vec![delta(json!({"content": "\n\n"})), call(json!(0), json!("x"), name.clone(), a.clone())],
            json!([read("a")]),
        ),
    ] {
        let (content, reason, message) = message(&chunks);
        assert_eq!((content, reason.as_str()), (expected, "tool_use"), "{what}");
        let ids: HashSet<_> = message
            .content
            .iter()
            .filter_map(|block| match block {
                ContentBlock::ToolUse { id, .. } => Some(id),
                _ => None,
            })
            .collect();
        let calls = message.content.iter().filter(|block| matches!(block, ContentBlock::ToolUse { .. })).count();
        assert_eq!(ids.len(), calls, "{what}: ids must differ");
    }
}

/// A request that offers these tools.
fn offering(tools: &[&str]) -> MessagesRequest {
    let tools = tools.iter().map(|name| json!({"name": name})).collect::<Value>();
    let mut request = request(json!([]));
    request.tools = serde_json::from_value(tools).unwrap();
    request
}

/// The content of an answer in these chunks, without ids, to a request with these tools.
fn content(tools: &[&str], chunks: &[Value]) -> Value {
    let mut reader = ChunkReader::new(&offering(tools));
    let mut events: Vec<_> =
        chunks.iter().flat_map(|chunk| reader.push(serde_json::from_value(chunk.clone()).unwrap())).collect();
    events.extend(reader.done());
    let mut assembler = Assembler::default();
    events.iter().for_each(|event| assembler.push(event).unwrap());
    let mut content = serde_json::to_value(assembler.finish().unwrap().content).unwrap();
    for block in content.as_array_mut().unwrap() {
        block.as_object_mut().unwrap().retain(|name, _| name != "id" && name != "signature");
    }
    content
}

#[test]
fn thinking_and_calls_that_were_written_as_text_are_read() {
    let text = |piece: &str| delta(json!({"content": piece}));
    let chunks = [
        text("<thi"),
        text("nk>Hm.</think>\n\nLet me look.\n<tool_"),
        text("call>\n{\"name\": \"Read\", \"arguments\": {\"path\": \"a\"}}\n</tool_call>"),
        finish("stop"),
    ];
    let thinking = json!({"type": "thinking", "thinking": "Hm."});
    let words = json!({"type": "text", "text": "Let me look.\n"});
    assert_eq!(content(&["Read"], &chunks), json!([thinking, words, read("a")]));
    let as_text = "Let me look.\n<tool_call>\n{\"name\": \"Read\", \"arguments\": {\"path\": \"a\"}}\n</tool_call>";
    assert_eq!(content(&["Write"], &chunks), json!([thinking, {"type": "text", "text": as_text}]));
}

#[test]
fn a_name_in_pieces_is_one_name() {
    let (none, args) = (Value::Null, json!("{\"path\":\"a\"}"));
    let piece = |name: &str, arguments: &Value| call(json!(0), json!("x"), json!(name), arguments.clone());
    let named = |name: &str| json!([{"type": "tool_use", "name": name, "input": {"path": "a"}}]);
    for (tools, names, expected) in [
        (&["Read"][..], &["Re", "ad"][..], "Read"),
        (&["Read", "ReadFile"], &["Read", "File"], "ReadFile"),
        (&["Read", "ReadFile"], &["Read"], "Read"),
        (&["Read"], &["Read", "Read"], "Read"),
        (&["ReadRead", "Read"], &["Read", "Read"], "ReadRead"),
        (&[], &["Re", "ad"], "Read"),
        (&[], &["Read", "Read"], "Read"),
        (&["Other"], &["Re", "ad"], "Read"),
    ] {
        let mut chunks: Vec<Value> = names.iter().map(|name| piece(name, &none)).collect();
        chunks.push(call(json!(0), none.clone(), none.clone(), args.clone()));
        assert_eq!(content(tools, &chunks), named(expected), "{names:?} of {tools:?}");
    }
}

#[test]
fn a_call_is_streamed_as_it_comes() {
    let mut reader = ChunkReader::new(&offering(&["Read"]));
    let mut push = |chunk: Value| {
        let events = reader.push(serde_json::from_value(chunk).unwrap());
        events.iter().map(|event| event.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(push(call(json!(0), json!("x"), json!("Read"), json!(""))), ["message_start", "content_block_start"]);
    assert_eq!(push(call(json!(0), Value::Null, Value::Null, json!("{\"a\""))), ["content_block_delta"]);
    assert_eq!(push(call(json!(0), Value::Null, Value::Null, json!(":1}"))), ["content_block_delta"]);
    assert_eq!(push(call(json!(1), json!("y"), json!("Read"), json!(""))), ["content_block_stop", "content_block_start"]);
}

#[test]
fn an_id_of_an_earlier_turn_is_replaced() {
    let used = json!([{"role": "assistant", "content": [{"type": "tool_use", "id": "call_0", "name": "Read", "input": {}}]}]);
    for (given, kept) in [("call_0", false), ("functions.Read:1", false), ("call_1", true)] {
        let mut reader = ChunkReader::new(&request(used.clone()));
        let events = reader.push(serde_json::from_value(call(json!(0), json!(given), json!("Read"), json!("{}"))).unwrap());
        let StreamEvent::ContentBlockStart { content_block: ContentBlock::ToolUse { id, .. }, .. } = &events[1] else {
            panic!("{events:?}")
        };
        assert_eq!(id == given, kept, "{id}");
    }
}

#[test]
fn why_it_stopped_is_told() {
    let text = delta(json!({"content": "x"}));
    let cut = call(json!(0), json!("x"), json!("Read"), json!("{}"));
    for (chunks, expected) in [
        (vec![text.clone(), finish("stop")], "end_turn"),
        (vec![text.clone()], "end_turn"),
        (vec![text.clone(), finish("tool_calls")], "end_turn"),
        (vec![text.clone(), finish("length")], "max_tokens"),
        (vec![cut, finish("length")], "max_tokens"),
        (vec![text, finish("content_filter")], "refusal"),
    ] {
        assert_eq!(message(&chunks).1, expected, "{chunks:?}");
    }
}

#[test]
fn a_call_that_is_no_object_at_its_end_counts_as_cut() {
    let call = |arguments: &str| call(json!(0), json!("c"), json!("Read"), json!(arguments));
    for arguments in ["{\"pa", "{'path': 1}", "[1]", "a.txt", "{\"a\": \"\\\u{1}\"}"] {
        for (said, reason) in [("tool_calls", "max_tokens"), ("stop", "max_tokens"), ("content_filter", "refusal")] {
            let (content, found, _) = message(&[call(arguments), finish(said)]);
            assert_eq!((&content[0]["name"], found.as_str()), (&json!("Read"), reason), "{arguments}");
        }
    }
    for arguments in ["", " ", "{}", "null"] {
        assert_eq!(message(&[call(arguments), finish("stop")]).1, "tool_use", "{arguments}");
    }
}

#[test]
fn an_error_in_mid_stream_closes_the_block_and_ends_the_answer() {
    let error = json!({"id": "gen-1", "provider": "x", "error": {"code": 502, "message": "Provider disconnected"},
                       "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]});
    let events = events(&[delta(json!({"content": "Hal"})), error, delta(json!({"content": "lo"}))]);
    let names: Vec<_> = events.iter().map(StreamEvent::name).collect();
    assert_eq!(names, ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "error"]);
    assert_eq!(events[4], StreamEvent::Error { body: ErrorBody::new(ErrorKind::Api, "Provider disconnected") });
}

#[test]
fn a_connection_that_ends_in_the_middle_is_an_error() {
    let last = |chunks: &[Value]| {
        let mut reader = ChunkReader::new(&request(json!([])));
        for chunk in chunks {
            reader.push(serde_json::from_value(chunk.clone()).unwrap());
        }
        reader.cut_off().last().unwrap().name().to_owned()
    };
    assert_eq!(last(&[delta(json!({"content": "x"}))]), "error");
    assert_eq!(last(&[delta(json!({"content": "x"})), finish("stop")]), "message_stop");
}
