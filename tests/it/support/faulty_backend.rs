//! A Messages server that reads two files at once in every answer, keeps a prefix cache that can be controlled, and may have a
//! fault planted in its answers.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::listen;

/// An answer, as a fault may change it.
#[derive(Clone)]
pub(crate) struct Answer {
    /// An error's status in place of the answer.
    pub(crate) status: Option<u16>,
    pub(crate) text: String,
    /// Names, and arguments as JSON text.
    pub(crate) calls: Vec<(String, String)>,
    pub(crate) stop_reason: String,
    pub(crate) prompt_tokens: u64,
    /// Whether the stream ends in the middle.
    pub(crate) is_cut: bool,
    /// Changes the stream's events.
    pub(crate) edit: fn(&mut Vec<Value>),
}

/// Which request an answer is for.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    /// From 0 on.
    pub(crate) nth: usize,
    pub(crate) cache: Cached,
}

/// What the cache holds of a prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cached {
    Nothing,
    SharedPrefix,
    Everything,
}

type Fault = Box<dyn Fn(Asked, &mut Answer) + Send + Sync>;

struct Server {
    fault: Fault,
    asked: Mutex<Asked>,
}

/// Starts the server and gives its base URL.
pub(crate) fn start(fault: impl Fn(Asked, &mut Answer) + Send + Sync + 'static) -> String {
    start_beside(Router::new(), fault)
}

/// Starts the server with other routes beside its own.
pub(crate) fn start_beside(others: Router, fault: impl Fn(Asked, &mut Answer) + Send + Sync + 'static) -> String {
    let asked = Mutex::new(Asked { nth: 0, cache: Cached::Nothing });
    let server = Arc::new(Server { fault: Box::new(fault), asked });
    let set = |cached| {
        async move |State(server): State<Arc<Server>>| {
            server.asked.lock().unwrap().cache = cached;
            StatusCode::NO_CONTENT
        }
    };
    let health = || async { Json(json!({"status": "ok", "server": "anyclaude", "model": "scripted"})) };
    let routes = Router::new()
        .route("/health", get(health))
        .route("/cache/clear", post(set(Cached::Nothing)))
        .route("/cache/keep-only", post(set(Cached::SharedPrefix)))
        .route("/v1/messages", post(messages));
    listen::routes(routes.with_state(server).merge(others))
}

async fn messages(State(server): State<Arc<Server>>) -> Response {
    let asked = {
        let mut now = server.asked.lock().unwrap();
        let asked = *now;
        now.nth += 1;
        asked
    };
    let read = |path: &str| ("Read".to_owned(), json!({"file_path": path, "limit": 5}).to_string());
    let mut answer = Answer {
        status: None,
        text: "Let me look.".into(),
        calls: vec![read("/project/a.txt"), ("Bash".into(), json!({"command": "ls -l"}).to_string())],
        stop_reason: "tool_use".into(),
        prompt_tokens: 1000,
        is_cut: false,
        edit: |_| {},
    };
    (server.fault)(asked, &mut answer);
    if let Some(status) = answer.status {
        return (StatusCode::from_u16(status).unwrap(), [(header::RETRY_AFTER, "0")], "busy").into_response();
    }
    server.asked.lock().unwrap().cache = Cached::Everything;
    let mut events = events(&answer, asked.cache);
    (answer.edit)(&mut events);
    let body: String = events.iter().map(frame).collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// An event as a stream has it.
pub(crate) fn frame(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
}

fn events(answer: &Answer, cache: Cached) -> Vec<Value> {
    let read = match cache {
        Cached::Nothing => 0,
        Cached::SharedPrefix => answer.prompt_tokens * 8 / 10,
        Cached::Everything => answer.prompt_tokens - 1,
    };
    let usage = json!({
        "input_tokens": answer.prompt_tokens - read, "cache_read_input_tokens": read, "output_tokens": 0,
    });
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "scripted", "content": [], "stop_reason": null,
        "stop_sequence": null, "usage": usage,
    });
    let block = |index: usize, block: Value, delta: Value| {
        [
            json!({"type": "content_block_start", "index": index, "content_block": block}),
            json!({"type": "content_block_delta", "index": index, "delta": delta}),
            json!({"type": "content_block_stop", "index": index}),
        ]
    };
    let mut events = vec![json!({"type": "message_start", "message": message})];
    events.extend(block(0, json!({"type": "text", "text": ""}), json!({"type": "text_delta", "text": answer.text})));
    for (index, (name, arguments)) in (1..).zip(&answer.calls) {
        let start = json!({"type": "tool_use", "id": format!("toolu_{index}"), "name": name, "input": {}});
        events.extend(block(index, start, json!({"type": "input_json_delta", "partial_json": arguments})));
    }
    if answer.is_cut {
        events.pop();
        return events;
    }
    let delta = json!({"stop_reason": answer.stop_reason, "stop_sequence": null});
    events.push(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 40}}));
    events.push(json!({"type": "message_stop"}));
    events
}
