//! What stays, what goes, and that nothing slips through.

mod planted;
mod streams;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::redact::Redactor;
use super::super::redact_trace::{assemble_redacted, redact_trace};
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
    opening.upstream = Some("https://gateway.example.com".into());
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
    let mut events = vec![json!({"type":"message_start","message":
        {"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[]}})];
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
    events.push(json!({"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":5}}));
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

    #[test]
    fn what_was_valid_is_valid_however_it_names_its_secrets(
        fields in prop::collection::vec((named(), value()), 1..5), texts in prop::collection::vec((named(), written()), 1..4)
    ) {
        let object: Map<String, Value> = fields.into_iter().collect();
        let spelled = texts.iter().map(|(name, value)| format!("{name}{value}")).collect::<Vec<_>>().join("\n");
        let mut trace = exchange(&spelled, &json!({ "file_path": spelled, "options": object }), 3);
        // The only field of metadata whose type the protocol says.
        let is_valid = |(name, value): &(&String, &Value)| *name != "user_id" || value.is_string();
        trace.request.body["metadata"] = object.iter().filter(is_valid).map(|(name, value)| (name.clone(), value.clone())).collect();
        trace.request.body["container"] = json!(object);
        trace.request.body["messages"][0]["content"][0]["text"] = json!(spelled);
        for (name, value) in &object {
            let header = value.as_str().unwrap_or("text");
            trace.request.headers.insert(name.clone(), json!(header));
            trace.request.path += &format!("&{name}={header}");
        }
        redact_trace(&mut trace, &Redactor::default());
        trace.response.body = assemble_redacted(&trace.response.events, &Redactor::default());
        prop_assert_eq!(problems_of(&trace), Vec::<String>::new());
        for turns in [Filler, Kept] {
            let scrubbed = scrub(trace.clone(), turns);
            prop_assert_eq!(problems_of(&scrubbed), Vec::<String>::new());
            prop_assert_eq!(scrub(scrubbed.clone(), turns), scrubbed);
        }
    }
}

/// Names of secrets, and others.
fn named() -> impl Strategy<Value = String> {
    let names = [
        "password",
        "api_key",
        "session_token",
        "token",
        "key",
        "cookie",
        "user_id",
        "Authorization",
        "bearer",
        "DB_PASS",
        "yzxqwv",
    ];
    prop::sample::select(names.to_vec()).prop_map(str::to_owned)
}

/// What stands behind a name in a text.
fn written() -> impl Strategy<Value = String> {
    let signs = prop::sample::select(vec![": ", "=", " = \"", ": <", " "]);
    (signs, placeholder()).prop_map(|(sign, value)| format!("{sign}{value}"))
}

/// What is no secret, or is none any more, though its name is that of one.
fn placeholder() -> impl Strategy<Value = String> {
    let texts = [
        "[redacted]",
        "$API_TOKEN",
        "xxxx-xxxx",
        "xxxxxxxx",
        "<your key>",
        "{{ token }}",
        "***",
        "",
        "required",
        "scrubbed-0123456789abcdef",
        "ctrl+s",
        "two words",
    ];
    prop::sample::select(texts.to_vec()).prop_map(str::to_owned)
}

/// A value of JSON that is no secret.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => placeholder().prop_map(Value::String),
        1 => prop::sample::select(vec![json!(5), json!(true), json!(["[redacted]", "xxxx"]), json!({"value": "[redacted]", "token": "$TOKEN"})]),
    ]
}

#[test]
fn where_a_word_of_the_protocol_is_expected_no_other_stays() {
    let block = |kind: &str| json!({"type": kind, "id": "zyqwex", "tool_use_id": "zyqwex", "error_code": "zyqwex", "caller": {"type": "zyqwex"}, "cache_control": {"type": "zyqwex", "ttl": "zyqwex"}});
    let body = json!({
        "model": "claude-x", "max_tokens": 5, "service_tier": "zyqwex", "thinking": {"type": "zyqwex", "display": "zyqwex"}, "betas": ["zyqwex"],
        "output_config": {"effort": "zyqwex", "format": {"type": "zyqwex"}}, "tool_choice": "zyqwex", "truncation": "zyqwex", "include": ["zyqwex"],
        "tools": [{"type": "zyqwex", "name": "Read", "allowed_callers": ["zyqwex"], "input_schema": {"type": "zyqwex", "format": "zyqwex", "default": "zyqwex"}}],
        "context_management": {"edits": [{"type": "zyqwex", "keep": "zyqwex", "trigger": {"type": "zyqwex"}}]},
        "messages": [{"role": "zyqwex", "content": [block("zyqwex"), block("text"), {"type": "image", "source": "zyqwex"}]}],
        "input": [{"type": "zyqwex", "status": "zyqwex", "call_id": "zyqwex"}],
    });
    let answer = json!({"id": "zyqwex", "type": "zyqwex", "role": "zyqwex", "stop_reason": "zyqwex", "object": "zyqwex", "status": "zyqwex",
        "error": {"type": "zyqwex", "code": "zyqwex"}, "usage": {"service_tier": "zyqwex"}, "choices": [{"finish_reason": "zyqwex"}]});
    let mut draft = Draft::new(opening("/v1/messages", json!({}), body));
    draft.respond(200, Map::new());
    for kind in ["zyqwex", "response.zyqwex", "message_start"] {
        draft.push(event(json!({"type": kind, "message": answer, "delta": {"type": "zyqwex"}, "item": {"status": "zyqwex"}, "item_id": "zyqwex"})));
    }
    let trace = draft.to_trace(ExchangeOutcome::Complete, None);
    let scrubbed = scrub(trace, Filler);
    let text = serde_json::to_string(&scrubbed).unwrap();
    assert!(!text.contains(planted::MARKER), "{text}");
    assert_eq!(scrub(scrubbed.clone(), Filler), scrubbed);
    // What belongs together still does.
    let block = &scrubbed.request.body["messages"][0]["content"][0];
    assert_eq!(block["id"], block["tool_use_id"]);
    assert_eq!(scrubbed.response.events[1].data["type"], scrubbed.response.events[1].event);
}

#[test]
fn what_looks_like_an_id_stays_only_where_ids_stand() {
    let id = "call_zyqwex";
    let call = json!({"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {},
        "caller": {"type": "direct", "tool_id": "srvtoolu_2"}});
    let body = json!({
        "model": "m", "max_tokens": id, "stream": id, "betas": [id], "service_tier": id, "temperature": id,
        "context_management": {"edits": [{"type": id, "keep": id}]}, "messages": [{"role": "assistant", "content": [call]}],
    });
    let draft = Draft::new(opening("/v1/messages", json!({}), body));
    let scrubbed = scrub(draft.to_trace(ExchangeOutcome::Complete, None), Filler);
    let text = serde_json::to_string(&scrubbed).unwrap();
    assert!(!text.contains(planted::MARKER), "{text}");
    assert_eq!(scrubbed.request.body["messages"][0]["content"][0]["id"], "toolu_1");
    assert_eq!(scrubbed.request.body["messages"][0]["content"][0]["caller"]["tool_id"], "srvtoolu_2");
}
