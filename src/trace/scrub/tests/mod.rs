//! What stays, what goes, and that nothing slips through.

mod planted;
mod streams;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::redact::Redactor;
use super::super::validate;
use super::super::{Draft, ExchangeOutcome, Opening, RecordedEvent, Trace, testing};
use super::Turns::{self, Filler, Kept};

/// What is wrong with a trace.
fn problems_of(trace: &Trace) -> Vec<String> {
    validate::problems_of(trace, &Redactor::default())
}

/// Scrubs with no patterns of a user's.
fn scrub(trace: Trace, turns: Turns) -> Trace {
    super::scrub(trace, turns, &Redactor::default())
}

fn opening(path: &str, headers: Value, body: Value) -> Opening {
    let mut opening = testing::opening(path, body);
    opening.client = "claude-cli/2.1.331 (external, cli)".into();
    opening.request.headers = serde_json::from_value(headers).unwrap();
    opening
}

fn event(data: Value) -> RecordedEvent {
    RecordedEvent { at_us: 1, event: data["type"].as_str().unwrap_or("message").into(), data }
}

/// An exchange whose answer spells `text`, then a call of Read with `input`, in pieces of `size` characters.
fn exchange(text: &str, input: &Value, size: usize) -> Trace {
    let body = json!({
        "model": "claude-x", "max_tokens": 5,
        "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=2;"},
            {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "Read", "description": text, "input_schema": {"type": "object", "properties": {
            "description": {"type": "string", "description": text, "enum": ["Secretive"]}}}}],
        "metadata": {"user_id": "user_1"},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "<system-reminder>Secretive</system-reminder>Read /root/a"}]},
            {"role": "assistant", "content": [{"type": "text", "text": text},
                {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": input}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": text}]},
        ],
    });
    let headers = json!({"x-claude-code-session-id": "1234", "accept": "a/b"});
    let mut draft = Draft::new(opening("/v1/messages?beta=true", headers, body));
    draft.respond(200, Map::new());
    let pieces = |text: &str| text.chars().collect::<Vec<_>>().chunks(size).map(String::from_iter).collect::<Vec<_>>();
    let mut events = vec![json!({"type":"message_start","message":{"type":"message","content":[]}})];
    events.push(json!({"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}));
    for piece in pieces(text) {
        events.push(json!({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":piece}}));
    }
    events.push(json!({"type":"content_block_stop","index":0}));
    events.push(json!({"type":"content_block_start","index":1,"content_block":
        {"type":"tool_use","id":"toolu_2","name":"Read","input":{}}}));
    for piece in pieces(&input.to_string()) {
        events.push(json!({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":piece}}));
    }
    events.push(json!({"type":"content_block_stop","index":1}));
    events.push(json!({"type":"message_stop"}));
    for (at_us, data) in events.into_iter().enumerate() {
        draft.push(RecordedEvent { at_us: at_us as u64, ..event(data) });
    }
    draft.to_trace(ExchangeOutcome::Complete, None)
}

#[test]
fn prose_goes_and_structure_stays() {
    let original = exchange("Secretive words, twice Secretive.", &json!({"file_path": "/root/a/hello.txt"}), 4);
    for turns in [Filler, Kept] {
        let scrubbed = scrub(original.clone(), turns);
        let text = serde_json::to_string(&scrubbed).unwrap();
        // The enum value is a name.
        assert_eq!(text.matches("Secretive").count(), 1, "{text}");
        assert!(!text.contains("user_1") && !text.contains("1234\""), "{text}");
        let body = &scrubbed.request.body;
        assert_eq!(body["system"][0], original.request.body["system"][0]);
        assert_eq!(body["system"][1]["cache_control"], json!({"type": "ephemeral"}));
        let answer = &scrubbed.response.body["content"];
        assert_eq!(answer[1]["id"], "toolu_2");
        assert_eq!(answer[1]["input"], body["messages"][1]["content"][1]["input"]);
        for same in [&body["system"][1]["text"], &body["tools"][0]["description"], &body["messages"][2]["content"][0]["content"]]
        {
            assert_eq!(*same, answer[0]["text"], "equal text stays equal");
        }
        assert_eq!(scrubbed.timing, original.timing);
        assert_eq!(scrubbed.response.events.len(), original.response.events.len());
        let turn = body["messages"][0]["content"][0]["text"].as_str().unwrap().rsplit('>').next().unwrap();
        let input = &answer[1]["input"]["file_path"];
        match turns {
            Kept => assert_eq!((turn, input), ("Read /home/user/a", &json!("/home/user/a/hello.txt"))),
            Filler => insta::assert_snapshot!(format!("{turn}, {input}"), @"Full /root/a, null"),
        }
    }
}

#[test]
fn the_committed_traces_are_scrubbed_already() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let files = crate::trace::find(&[folder]).unwrap();
    assert!(!files.is_empty());
    for file in files {
        let trace = crate::trace::read(&file).unwrap();
        assert_eq!(problems_of(&trace), Vec::<String>::new());
        let again = scrub(trace.clone(), Kept);
        assert_eq!(serde_json::to_string(&again).unwrap(), serde_json::to_string(&trace).unwrap(), "{}", file.display());
        assert_eq!(problems_of(&scrub(trace, Filler)), Vec::<String>::new());
    }
}

#[test]
fn what_a_replay_needs_stays() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["file_path", "-n"], "additionalProperties": false,
        "$defs": {"Mode": {"type": "string", "enum": ["fast", "slow_one"], "default": "fast"}},
        "properties": {"file_path": {"type": "string", "pattern": "^[a-z/]+$", "maxLength": 12345, "format": "uri"},
            "-n": {"type": ["integer", "null"], "minimum": 0}, "mode": {"$ref": "#/$defs/Mode"}},
    });
    let body = json!({
        "model": "us.anthropic.claude-opus:0", "max_tokens": 64000, "stream": true, "temperature": 0.5, "thinking": {"type": "enabled", "budget_tokens": 12345},
        "tools": [{"name": "mcp__a-b__get", "input_schema": schema, "cache_control": {"type": "ephemeral", "ttl": "1h"}, "strict": true},
            {"type": "bash_20250124", "name": "bash"}],
        "tool_choice": {"type": "tool", "name": "mcp__a-b__get"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": schema}},
        "messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "mcp__a-b__get",
            "input": {"mode": "slow_one", "-n": 1}, "caller": {"type": "direct"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true}]}],
    });
    for turns in [Filler, Kept] {
        let trace = planted::whole(body.clone(), Value::Null);
        assert_eq!(scrub(trace, turns).request.body, body);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_scrubbed_trace_is_valid_and_scrubbing_it_again_changes_nothing(
        text in "[a-zA-Zé日 .,0-9\n]{1,40}", path in "(/root|/home/al|x@y.org|[a-z\"é/]){0,8}", size in 1usize..9
    ) {
        for turns in [Filler, Kept] {
            let once = scrub(exchange(&text, &json!({"file_path": path, "n": 1.5}), size), turns);
            prop_assert_eq!(problems_of(&once), Vec::<String>::new());
            prop_assert_eq!(scrub(once.clone(), turns), once);
        }
    }
}
