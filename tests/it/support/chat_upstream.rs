//! A scripted server that speaks OpenAI's chat completions, as LM Studio and OpenRouter do.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::listen;
use super::log::Log;

/// What the server was asked, in order.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    /// `null` where there was no body.
    pub body: Value,
}

/// What it answers: a status, header lines and a body.
pub(crate) struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: String,
}

impl Reply {
    /// A JSON body.
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { status, headers: vec![("content-type", "application/json")], body: body.to_string() }
    }

    /// An event stream of this text.
    pub(crate) fn stream(body: impl Into<String>) -> Self {
        Self { status: 200, headers: vec![("content-type", "text/event-stream")], body: body.into() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}

type Script = Box<dyn Fn(&Asked) -> Reply + Send + Sync>;

struct Shared {
    script: Script,
    asked: Log<Asked>,
}

/// A running server.
pub(crate) struct ChatUpstream {
    pub url: String,
    shared: Arc<Shared>,
}

impl ChatUpstream {
    pub(crate) fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared { script: Box::new(script), asked: Log::default() });
        let url = listen::routes(Router::new().fallback(answer).with_state(shared.clone())) + "/v1";
        Self { url, shared }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.all()
    }

    /// The requests for answers. The launcher asks for the list of models too.
    pub(crate) fn asked_to_answer(&self) -> Vec<Asked> {
        let mut asked = self.asked();
        asked.retain(|asked| asked.path.ends_with("/completions"));
        asked
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let asked = Asked { path: uri.path().to_owned(), headers, body };
    let reply = (shared.script)(&asked);
    shared.asked.push(asked);
    let mut response = (StatusCode::from_u16(reply.status).unwrap(), Body::from(reply.body)).into_response();
    for (name, value) in reply.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// One frame of an event stream.
pub(crate) fn frame(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// The end of an event stream.
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// An answer as LM Studio streams it: no ids repeated, the role in every first delta, arguments in pieces, usage only if asked
/// for.
pub(crate) fn lm_studio(asked: &Asked, text: &str, calls: &[(&str, Value)]) -> String {
    let chunk = |delta: Value, reason: Value| {
        frame(&json!({
            "id": "chatcmpl-oqmfpylkpgn", "object": "chat.completion.chunk", "created": 1_770_000_000, "model": asked.body["model"],
            "system_fingerprint": asked.body["model"], "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}],
        }))
    };
    let mut stream = String::new();
    for piece in text.split_inclusive(' ') {
        stream += &chunk(json!({"role": "assistant", "content": piece}), Value::Null);
    }
    for (index, (name, input)) in calls.iter().enumerate() {
        // The same in every answer: a client must not see it twice.
        let id = format!("{}", 365_174_485 + index);
        let function = json!({"name": name, "arguments": ""});
        stream +=
            &chunk(json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}), Value::Null);
        let input = input.to_string();
        let (head, tail) = input.split_at(1);
        for piece in [head, tail] {
            stream += &chunk(json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}), Value::Null);
        }
    }
    stream += &chunk(json!({}), json!(if calls.is_empty() { "stop" } else { "tool_calls" }));
    if asked.body["stream_options"]["include_usage"] == true {
        stream += &frame(&json!({
            "id": "chatcmpl-oqmfpylkpgn", "object": "chat.completion.chunk", "created": 1_770_000_000, "model": asked.body["model"],
            "choices": [], "usage": {"prompt_tokens": 50, "completion_tokens": 7, "total_tokens": 57},
        }));
    }
    stream + DONE
}

/// An answer as OpenRouter streams it: comments while it waits, the provider's own reason, reasoning twice, whole calls, usage
/// with an empty delta.
pub(crate) fn open_router(asked: &Asked, text: &str, calls: &[(&str, Value)]) -> String {
    let chunk = |delta: Value, reason: Value, native: Value| {
        json!({
            "id": "gen-1770000000-AbC", "provider": "Chutes", "model": asked.body["model"], "object": "chat.completion.chunk",
            "created": 1_770_000_000,
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason, "native_finish_reason": native, "logprobs": null}],
        })
    };
    let comment = ": OPENROUTER PROCESSING\n\n";
    let details = json!([{"type": "reasoning.text", "text": "Let me think.", "index": 0}]);
    let thought = json!({"role": "assistant", "content": "", "reasoning": "Let me think.", "reasoning_details": details});
    let mut stream = comment.repeat(2) + &frame(&chunk(thought, Value::Null, Value::Null)) + comment;
    if !text.is_empty() {
        stream += &frame(&chunk(json!({"role": "assistant", "content": text}), Value::Null, Value::Null));
    }
    for (index, (name, input)) in calls.iter().enumerate() {
        let function = json!({"name": name, "arguments": input.to_string()});
        let call = json!({"index": index, "id": format!("functions.{name}:{index}"), "type": "function", "function": function});
        stream += &frame(&chunk(json!({"role": "assistant", "content": null, "tool_calls": [call]}), Value::Null, Value::Null));
    }
    let reason = if calls.is_empty() { "stop" } else { "tool_calls" };
    let ending = json!({"role": "assistant", "content": ""});
    stream += &frame(&chunk(ending.clone(), json!(reason), json!("eos_token")));
    let mut usage = chunk(ending, Value::Null, Value::Null);
    usage["usage"] = json!({"prompt_tokens": 50, "completion_tokens": 7, "total_tokens": 57, "cost": 0.0001,
                            "prompt_tokens_details": {"cached_tokens": 40}, "completion_tokens_details": {"reasoning_tokens": 3}});
    stream + &frame(&usage) + DONE
}

/// An answer as the plainest servers stream it: calls in one piece and without ids, nothing about usage, the reason always
/// `stop`, no end but that of the connection.
pub(crate) fn plain(asked: &Asked, text: &str, calls: &[(&str, Value)]) -> String {
    let chunk = |delta: Value, reason: Value| {
        frame(&json!({"model": asked.body["model"], "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}))
    };
    let call = |(name, input): &(&str, Value)| json!({"function": {"name": name, "arguments": input.to_string()}});
    let calls: Vec<Value> = calls.iter().map(call).collect();
    let delta = if calls.is_empty() { json!({"content": text}) } else { json!({"content": text, "tool_calls": calls}) };
    chunk(delta, Value::Null) + &chunk(json!({}), json!("stop"))
}
