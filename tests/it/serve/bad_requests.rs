//! Five hundred generated bad requests on one server: whatever is wrong with them, they are answered.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::MODEL;
use crate::support::http::{Reply, client, get, post, send};
use crate::support::serving::Serving;

const REQUESTS: usize = 500;
const SEED: u64 = 18;

fn messages() -> Value {
    json!({
        "model": "m", "max_tokens": 8, "temperature": 0, "stop_sequences": ["q"], "system": [{"type": "text", "text": "S"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Read hello.txt"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Read", "input": {"path": "a"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
                {"type": "text", "text": "x"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}]}]},
        ],
        "tools": [
            {"name": "Read", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}},
            {"type": "bash_20250124", "name": "bash"},
        ],
        "tool_choice": {"type": "auto"},
        "output_config": {"format": {"type": "json_schema", "schema": {
            "type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false}}},
    })
}

fn chat() -> Value {
    json!({
        "model": "m", "max_tokens": 8, "temperature": 0, "top_p": 1, "n": 1, "stop": ["q"], "seed": 7,
        "messages": [
            {"role": "system", "content": "S"},
            {"role": "user", "content": [{"type": "text", "text": "Hi"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "Read", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "x"},
        ],
        "tools": [{"type": "function", "function": {"name": "Read", "parameters": {"type": "object"}}}],
        "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
    })
}

fn responses() -> Value {
    json!({
        "model": "m", "max_output_tokens": 8, "temperature": 0, "top_p": 1, "seed": 7, "instructions": "S", "store": false,
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA=="}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Well."}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
            {"type": "function_call", "call_id": "c", "name": "Read", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "x"},
            {"type": "custom_tool_call", "call_id": "d", "name": "patch", "input": "+ a"},
            {"type": "custom_tool_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "done"}]},
        ],
        "tools": [
            {"type": "function", "name": "Read", "parameters": {"type": "object"}, "strict": false},
            {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}},
            {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "list", "parameters": {"type": "object"}}]},
            {"type": "web_search"},
        ],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "Read"}]},
        "reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"], "metadata": {"a": "b"},
        "text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}, "verbosity": "low"},
    })
}

fn completions() -> Value {
    json!({
        "model": "m", "max_tokens": 8, "prompt": ["It is"], "temperature": 0, "top_p": 1, "n": 1, "best_of": 1, "echo": false,
        "stop": ["q"], "seed": 7, "suffix": null, "logprobs": null, "logit_bias": {}, "presence_penalty": 0, "top_k": 5,
        "stream_options": {"include_usage": true}, "user": "ann",
    })
}

/// What stands where something else is expected.
fn oddities() -> Vec<Value> {
    vec![
        json!(null),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e308),
        json!(u64::MAX),
        json!(true),
        json!(""),
        json!("x".repeat(5_000)),
        json!([]),
        json!([null]),
        json!([[]]),
        json!({}),
        json!({"type": "text"}),
        json!({"type": "hologram"}),
        json!({"a": {"$ref": "#/nowhere"}}),
    ]
}

/// The fields that limit an answer.
const LENGTHS: [&str; 2] = ["max_tokens", "max_output_tokens"];

/// The JSON pointers of everything in a body. An answer's length stays as it is, or the tiny model fills its context.
fn places(body: &Value, at: &str, places: &mut Vec<String>) {
    let fields: Vec<(String, &Value)> = match body {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in fields.into_iter().filter(|(name, _)| !LENGTHS.contains(&name.as_str())) {
        let inner = format!("{at}/{name}");
        self::places(value, &inner, places);
        places.push(inner);
    }
}

/// Takes something out of the body, or puts an oddity in its place.
fn spoil(body: &mut Value, random: &mut StdRng) {
    let mut all = Vec::new();
    places(body, "", &mut all);
    let Some(place) = all.choose(random) else { return };
    if random.random_bool(0.7) {
        *body.pointer_mut(place).unwrap() = oddities().choose(random).unwrap().clone();
        return;
    }
    let (owner, name) = place.rsplit_once('/').unwrap();
    match body.pointer_mut(owner).unwrap() {
        Value::Object(fields) => drop(fields.shift_remove(name)),
        Value::Array(items) => drop(items.remove(name.parse().unwrap())),
        _ => unreachable!("only objects and lists have places in them"),
    }
}

/// What the server's process takes, in bytes.
fn resident(server: &Serving) -> f64 {
    get(&format!("{}/cache", server.url)).json()["memory"]["rss_bytes"].as_f64().unwrap()
}

/// What is wrong with an answer, if something is.
fn fault(path: &str, reply: &Reply) -> Option<&'static str> {
    let Ok(body) = serde_json::from_str::<Value>(&reply.text) else { return Some("not JSON") };
    let object = match path {
        "/v1/chat/completions" => Some("chat.completion"),
        "/v1/responses" => Some("response"),
        "/v1/completions" => Some("text_completion"),
        _ => None,
    };
    match reply.status {
        200 if object.is_some() => (body["object"].as_str() != object).then_some("not the answer's object"),
        200 if path.ends_with("count_tokens") => (!body["input_tokens"].is_u64()).then_some("no count"),
        200 => (body["type"] != "message").then_some("no message"),
        400..500 if object.is_some() => {
            let whole = ["message", "type", "param", "code"].iter().all(|field| body["error"].get(*field).is_some());
            (!whole || body.get("type").is_some()).then_some("not OpenAI's envelope")
        }
        400..500 => {
            let id = body["request_id"].as_str().is_some_and(|id| id.starts_with("req_"));
            (body["type"] != "error" || !id || !body["error"]["message"].is_string()).then_some("not Anthropic's envelope")
        }
        _ => Some("neither an answer nor the client's fault"),
    }
}

#[test]
fn every_bad_request_is_answered_in_its_protocol_and_the_server_goes_on() {
    let server = Serving::start(MODEL, &[]);
    let mut random = StdRng::seed_from_u64(SEED);
    let mut faults = Vec::new();
    let mut refused = 0;
    let mut resident_at_half = 0.0;
    for nth in 0..REQUESTS {
        if nth == REQUESTS / 2 {
            resident_at_half = resident(&server);
        }
        let (path, mut body) = match random.random_range(0..5) {
            0 => ("/v1/messages", messages()),
            1 => ("/v1/messages/count_tokens", messages()),
            2 => ("/v1/chat/completions", chat()),
            3 => ("/v1/responses", responses()),
            _ => ("/v1/completions", completions()),
        };
        for _ in 0..random.random_range(1..=2) {
            spoil(&mut body, &mut random);
        }
        let mut text = body.to_string();
        if random.random_bool(0.05) {
            text.truncate(random.random_range(0..text.len()));
        }
        let reply = send(client().post(format!("{}{path}", server.url)).body(text.clone())).unwrap();
        refused += usize::from(reply.status != 200);
        if let Some(fault) = fault(path, &reply) {
            let start: String = text.chars().take(800).collect();
            faults.push(format!("{nth}: {fault}: {path} {start}\n  {reply:?}"));
        }
    }
    assert!(faults.is_empty(), "{} of {REQUESTS}:\n{}", faults.len(), faults.join("\n"));
    assert!(refused > REQUESTS / 4, "only {refused} were bad: the test tests nothing");
    let growth = resident(&server) / resident_at_half;
    // Caches fill up to their limits, and the allocator keeps some of what was freed.
    assert!(growth < 1.5, "the second half of the requests has made memory grow {growth:.2} times");
    assert_eq!(get(&format!("{}/health", server.url)).status, 200);
    let whole = [
        ("/v1/messages", messages()),
        ("/v1/chat/completions", chat()),
        ("/v1/responses", responses()),
        ("/v1/completions", completions()),
    ];
    for (path, body) in whole {
        post(&format!("{}{path}", server.url), &body).succeeds();
    }
}
