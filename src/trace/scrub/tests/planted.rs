//! A word that no list has, planted in every string, never comes out.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::Turns::{self, Filler, Kept};
use super::super::head;
use super::{event, opening, scrub};
use crate::trace::{Draft, ExchangeOutcome, Trace};

/// A word that no list has.
pub(super) const MARKER: &str = "zyqwex";

/// Texts with the marker in them, none of which is shaped like a name.
fn sentence() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        " zyqwex ",
        "Zyqwex and ZYQWEX",
        "/home/zyqwex/zyqwex.txt",
        "https://zyqwex.example/zyqwex?zyqwex=zyqwex#zyqwex",
        "ab@zyqwex.org zyqwex@example.org",
        "x-anthropic-billing-header: cc_version=2.1; zyqwex=zyqwex; zyqwex\nzyqwex",
        "zyqwex\nx-anthropic-billing-header: cc_version=2.1;",
        "<system-reminder>zyqwex</system-reminder>[redacted] zyqwex",
        "Primary working directory: /zyqwex/zyqwex",
        "scrubbed-zyqwex scrubbed-0123456789abcdef-zyqwex",
        "{\"zyqwex\": [\"zyqwex\\nzyqwex\", {\"zyqwex\": \"zyqwex\"}]}",
        "{\"zyqwex\": \"zyqwex",
        "data:image/png;base64,zyqwex+/zyqwex=",
        "\u{0}\u{fffd}\u{1f}zyqwex\u{fffd}",
        "日zyqwexé, \\u007ayqwex-zyqwex",
        "#/$defs/zyqwex zyqwex",
    ])
    .prop_map(str::to_owned)
}

/// Any JSON: objects with names from the protocols and from nowhere, and the marker in every string.
fn anything() -> impl Strategy<Value = Value> {
    const FIELDS: [&str; 44] = [
        "type",
        "text",
        "role",
        "content",
        "name",
        "id",
        "input",
        "source",
        "data",
        "model",
        "system",
        "messages",
        "tools",
        "tool_choice",
        "input_schema",
        "properties",
        "enum",
        "const",
        "default",
        "examples",
        "required",
        "pattern",
        "$ref",
        "$schema",
        "format",
        "schema",
        "description",
        "mcp_servers",
        "url",
        "authorization_token",
        "output_config",
        "metadata",
        "container",
        "usage",
        "cache_control",
        "stop_sequences",
        "tool_calls",
        "function",
        "arguments",
        "error",
        "message",
        "delta",
        "context_management",
        "citations",
    ];
    let name = prop_oneof![
        4 => prop::sample::select(FIELDS.to_vec()).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["zyqwex", "x_zyqwex", "zyqwex two", "Zyqwex"]).prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        6 => sentence().prop_map(Value::String),
        1 => prop::sample::select(vec![json!(null), json!(true), json!(12345678), json!(-1.25), json!(1e300)]),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn assert_clean(original: &Trace, turns: Turns) -> Result<(), TestCaseError> {
    let scrubbed = scrub(original.clone(), turns);
    let text = serde_json::to_string(&scrubbed).unwrap();
    prop_assert!(!text.to_lowercase().contains(MARKER), "{text}");
    prop_assert_eq!(scrub(scrubbed.clone(), turns), scrubbed);
    Ok(())
}

/// A request with the marker wherever people write something, and nowhere else.
fn request() -> Value {
    json!({
        "model": "claude-x", "max_tokens": 5, "stop_sequences": ["zyqwex"], "metadata": {"user_id": "zyqwex", "zyqwex": {"zyqwex": "zyqwex"}},
        "container": {"id": "zyqwex", "skills": [{"type": "custom", "skill_id": "zyqwex", "version": "1"}]},
        "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cch=1;\nzyqwex zyqwex", "citations": null}],
        "mcp_servers": [{"type": "url", "name": "zyqwex", "url": "https://zyqwex.example", "authorization_token": "zyqwex",
            "tool_configuration": {"enabled": true, "zyqwex": "zyqwex"}, "zyqwex": "zyqwex"}],
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object", "title": "zyqwex",
            "description": "zyqwex", "$comment": "zyqwex", "zyqwex": ["zyqwex"], "properties": {"a": {"type": "string",
            "description": "zyqwex", "examples": ["zyqwex", {"a": "zyqwex"}], "pattern": "^zyqwex$", "$schema": "https://zyqwex.example"}}}}},
        "tools": [
            {"name": "Read", "description": "zyqwex", "input_examples": [{"file_path": "zyqwex"}], "zyqwex": {"zyqwex": "zyqwex"},
             "input_schema": {"type": "object", "properties": {"file_path": {"type": "string", "description": "zyqwex", "enum": ["ok"]}},
                "patternProperties": {"^(zyqwex)": {"description": "zyqwex"}}}},
            {"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["zyqwex.example"], "blocked_domains": ["zyqwex"],
             "user_location": {"type": "approximate", "city": "zyqwex", "timezone": "Zyqwex"}},
            {"type": "mcp_toolset", "mcp_server_name": "zyqwex", "configs": {"zyqwex": {"enabled": true}}}],
        "tool_choice": {"type": "auto", "zyqwex": "zyqwex"}, "zyqwex": {"type": "zyqwex", "name": "zyqwex", "id": "zyqwex"},
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919", "zyqwex": "zyqwex"}]},
        "messages": [
            {"role": "assistant", "name": "zyqwex", "content": [
                {"type": "text", "text": "zyqwex", "citations": [{"type": "char_location", "cited_text": "zyqwex", "document_title": "zyqwex",
                    "document_index": 0, "zyqwex": "zyqwex"}]},
                {"type": "thinking", "thinking": "zyqwex", "signature": "zyqwex"}, {"type": "redacted_thinking", "data": "zyqwex"},
                {"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "get", "server_name": "zyqwex", "input": {}},
                {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result", "url": "zyqwex",
                    "title": "zyqwex", "encrypted_content": "zyqwex", "page_age": "zyqwex"}]},
                {"type": "compaction", "content": "zyqwex"}, {"type": "future", "zyqwex": "zyqwex", "payload": {"type": "zyqwex"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "zyqwex"}, {"type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": "zyqwex"}}]},
                {"type": "document", "title": "zyqwex", "context": "zyqwex", "source": {"type": "text", "media_type": "text/plain", "data": "zyqwex"}},
                {"type": "document", "source": {"type": "url", "url": "zyqwex"}}, {"type": "container_upload", "file_id": "zyqwex"},
                {"type": "search_result", "source": "zyqwex", "title": "zyqwex", "content": [{"type": "text", "text": "zyqwex"}]}]},
            {"role": "system", "content": "zyqwex"}],
    })
}

/// What a user says, and the arguments that a model gives.
fn turns() -> Value {
    json!([
        {"role": "user", "content": "zyqwex"}, {"role": "user", "content": [{"type": "text", "text": "zyqwex"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"file_path": "zyqwex", "zyqwex": {"zyqwex": ["zyqwex"]}}}]},
        {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "Read", "arguments": "{\"zyqwex\":\"zyqwex\"}"}}]},
    ])
}

/// Every header that is known, and one that is not.
fn planted_headers() -> Value {
    let mut headers = Map::new();
    for name in head::known_names().chain(["x-zyqwex", "forwarded"]) {
        headers.insert(name.to_owned(), json!("zyqwex"));
    }
    headers.insert("x-more".into(), json!(["zyqwex", "of zyqwex"]));
    Value::Object(headers)
}

pub(super) fn whole(request: Value, response: Value) -> Trace {
    let mut draft = Draft::new(opening("/v1/zyqwex/messages?zyqwex=zyqwex&beta=zyqwex", planted_headers(), request));
    draft.respond(400, planted_headers().as_object().unwrap().clone());
    draft.set_body(response);
    let mut trace = draft.to_trace(ExchangeOutcome::UpstreamError, Some(1));
    trace.client = "Zyqwex/1.0 (zyqwex; Linux) claude-cli/2.1 (zyqwex)".into();
    trace
}

#[test]
fn single_words_go_wherever_somebody_writes_them() {
    let error = json!({"type": "error", "error": {"type": "invalid_request_error", "message": "zyqwex", "param": "zyqwex"}, "request_id": "zyqwex"});
    let answer = json!({"type": "message", "id": "msg_1", "model": "m", "role": "assistant", "stop_sequence": "zyqwex",
        "container": {"id": "zyqwex", "expires_at": "zyqwex"}, "content": request()["messages"][0]["content"], "usage": {"zyqwex": "zyqwex"}});
    for response in [error, answer, json!("zyqwex \u{fffd} zyqwex"), json!(["zyqwex"])] {
        assert_clean(&whole(request(), response.clone()), Kept).unwrap();
        let mut all = request();
        all["tools"][0]["input_schema"]["properties"]["zyqwex or not"] = json!({"enum": ["of zyqwex"], "default": "of zyqwex"});
        all["messages"].as_array_mut().unwrap().extend(turns().as_array().unwrap().clone());
        assert_clean(&whole(all, response), Filler).unwrap();
    }
    // Bodies that are no JSON.
    for body in ["zyqwex", "{\"messages\": \"zyqwex\\ud800\"}", "\u{1f}\u{fffd}\u{8}zyqwex"] {
        for turns in [Filler, Kept] {
            assert_clean(&whole(json!(body), json!(body)), turns).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_sentence_is_left_in_any_request_or_answer(request in anything(), response in anything()) {
        assert_clean(&whole(request, response), Filler)?;
    }

    #[test]
    fn no_sentence_is_left_in_any_event(
        data in prop::collection::vec((0usize..6, anything()), 1..8), text in prop::collection::vec(sentence(), 1..4), cut in 1usize..9
    ) {
        let mut draft = Draft::new(opening("/v1/messages", json!({}), json!({})));
        draft.respond(200, Map::new());
        draft.push(event(json!({"type": "message_start", "message": {"type": "message", "content": []}})));
        for (kind, inside) in data {
            draft.push(event(match kind {
                0 => inside,
                1 => json!({"type": "content_block_start", "index": 0, "content_block": inside}),
                2 => json!({"type": "content_block_delta", "index": 0, "delta": inside}),
                3 => json!({"type": "message_delta", "delta": inside, "usage": {}}),
                4 => json!({"type": "error", "error": inside}),
                _ => json!({"type": "message_start", "message": inside}),
            }));
        }
        for (index, kind) in ["text", "thinking", "signature", "partial_json"].into_iter().enumerate() {
            let letters: Vec<char> = text.concat().chars().collect();
            for piece in letters.chunks(cut).map(String::from_iter) {
                draft.push(event(json!({"type": "content_block_delta", "index": index, "delta": {"type": "x_delta", kind: piece}})));
                draft.push(event(match index {
                    0 => json!({"choices": [{"index": 0, "delta": {"content": piece, "zyqwex": piece, "tool_calls":
                        [{"index": 0, "function": {"name": piece, "arguments": piece}}]}}, {"index": 1, "text": piece}]}),
                    1 => json!({"type": "response.output_text.delta", "output_index": 0, "delta": piece}),
                    _ => json!({"type": "response.function_call_arguments.delta", "output_index": index, "delta": piece}),
                }));
            }
        }
        let original = draft.to_trace(ExchangeOutcome::Complete, None);
        assert_clean(&original, Filler)?;
    }
}
