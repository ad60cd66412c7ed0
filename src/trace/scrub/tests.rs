//! What stays, what goes, and that nothing slips through.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::validate::problems_of;
use super::super::{Draft, ExchangeOutcome, Opening, RecordedEvent, Trace, testing};
use super::Turns::{Filler, Kept};
use super::scrub;

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

/// A word that no list has.
const MARKER: &str = "zyqwex";

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

fn assert_clean(original: &Trace, turns: super::Turns) -> Result<(), TestCaseError> {
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
    for name in super::head::known_names().chain(["x-zyqwex", "forwarded"]) {
        headers.insert(name.to_owned(), json!("zyqwex"));
    }
    headers.insert("x-more".into(), json!(["zyqwex", "of zyqwex"]));
    Value::Object(headers)
}

fn whole(request: Value, response: Value) -> Trace {
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
        let trace = whole(body.clone(), Value::Null);
        assert_eq!(scrub(trace, turns).request.body, body);
    }
}

#[test]
fn chat_completions_keep_their_form() {
    let body = json!({
        "model": "gpt-x", "messages": [{"role": "user", "content": [{"type": "text", "text": "zyqwex"}, {"type": "image_url", "image_url": {"url": "zyqwex"}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "zyqwex"}],
        "tools": [{"type": "function", "function": {"name": "get", "description": "zyqwex", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}, "user": "zyqwex",
    });
    let mut draft = Draft::new(opening("/v1/chat/completions", json!({}), body));
    draft.respond(200, Map::new());
    for data in [
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-x", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "zyqwex"}}]}),
        json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "get", "arguments": "{\"zyq"}}]}, "finish_reason": null}]}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 12345}}),
        json!("[DONE]"),
    ] {
        draft.push(event(data));
    }
    let scrubbed = scrub(draft.to_trace(ExchangeOutcome::Complete, None), Filler);
    let text = serde_json::to_string_pretty(&(
        scrubbed.request.body,
        scrubbed.response.events.iter().map(|e| &e.data).collect::<Vec<_>>(),
    ))
    .unwrap();
    assert!(!text.contains(MARKER));
    insta::assert_snapshot!(text, @r#"
    [
      {
        "model": "gpt-x",
        "messages": [
          {
            "role": "user",
            "content": [
              {
                "type": "text",
                "text": "honest"
              },
              {
                "type": "image_url",
                "image_url": {
                  "url": "honest"
                }
              }
            ]
          },
          {
            "role": "tool",
            "tool_call_id": "call_1",
            "content": "honest"
          }
        ],
        "tools": [
          {
            "type": "function",
            "function": {
              "name": "get",
              "description": "honest",
              "parameters": {
                "type": "object",
                "properties": {
                  "a": {
                    "type": "string"
                  }
                }
              }
            }
          }
        ],
        "response_format": {
          "type": "json_schema",
          "json_schema": {
            "name": "answer",
            "schema": {
              "type": "object"
            }
          }
        },
        "user": "scrubbed-8414677888ac7890"
      },
      [
        {
          "id": "chatcmpl-1",
          "object": "chat.completion.chunk",
          "model": "gpt-x",
          "choices": [
            {
              "index": 0,
              "delta": {
                "role": "assistant",
                "content": "honest"
              }
            }
          ]
        },
        {
          "choices": [
            {
              "index": 0,
              "delta": {
                "tool_calls": [
                  {
                    "index": 0,
                    "id": "call_1",
                    "function": {
                      "name": "get",
                      "arguments": "{\"due"
                    }
                  }
                ]
              },
              "finish_reason": null
            }
          ]
        },
        {
          "choices": [
            {
              "index": 0,
              "delta": {},
              "finish_reason": "tool_calls"
            }
          ],
          "usage": {
            "prompt_tokens": 12345
          }
        },
        "[DONE]"
      ]
    ]
    "#);
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
            }
        }
        let original = draft.to_trace(ExchangeOutcome::Complete, None);
        assert_clean(&original, Filler)?;
    }

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
