//! A proxy before a real server that plants one fault: in what the server is asked, or in what it answers.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::faulty_backend::{Asked, Cached, frame};
use super::listen;

/// What the proxy does to requests for messages.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Changes what the server is asked.
    Request(fn(Asked, &mut Value)),
    /// Changes the events of the answer.
    Answer(fn(&mut Vec<Value>)),
    /// Ends the answer in the middle.
    Cut,
    /// Answers the requests that this selects with 529.
    Overloaded(fn(Asked) -> bool),
}

struct Proxy {
    server: String,
    fault: Fault,
    asked: Mutex<Asked>,
    client: reqwest::Client,
}

/// Starts a proxy before this server and gives its base URL.
pub(crate) fn start(server: &str, fault: Fault) -> String {
    let asked = Mutex::new(Asked { nth: 0, cache: Cached::Nothing });
    let proxy = Proxy { server: server.to_owned(), fault, asked, client: reqwest::Client::new() };
    listen::routes(Router::new().fallback(pass_on).with_state(Arc::new(proxy)))
}

async fn pass_on(State(proxy): State<Arc<Proxy>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let asked = proxy.asked(uri.path());
    let mut body = body.to_vec();
    if let Some(asked) = asked {
        match proxy.fault {
            Fault::Overloaded(is_now) if is_now(asked) => {
                return (StatusCode::from_u16(529).unwrap(), [(header::RETRY_AFTER, "0")], "busy").into_response();
            }
            Fault::Request(change) => {
                let mut request = serde_json::from_slice(&body).unwrap();
                change(asked, &mut request);
                body = request.to_string().into_bytes();
            }
            _ => {}
        }
        proxy.asked.lock().unwrap().cache = Cached::Everything;
    }
    let request = proxy.client.request(method, format!("{}{uri}", proxy.server)).body(body);
    let content_type = headers.get(header::CONTENT_TYPE).cloned();
    let answer = content_type.into_iter().fold(request, |request, kind| request.header(header::CONTENT_TYPE, kind));
    let answer = answer.send().await.unwrap();
    let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
    let text = answer.text().await.unwrap();
    let text = if asked.is_some() && status.is_success() { proxy.planted(&text) } else { text };
    let mut response = (status, text).into_response();
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

impl Proxy {
    /// Which request for a message this is; `None` if it is for something else.
    fn asked(&self, path: &str) -> Option<Asked> {
        let mut now = self.asked.lock().unwrap();
        match path {
            "/cache/clear" => now.cache = Cached::Nothing,
            "/cache/keep-only" => now.cache = Cached::SharedPrefix,
            "/v1/messages" => {
                let asked = *now;
                now.nth += 1;
                return Some(asked);
            }
            _ => {}
        }
        None
    }

    /// A stream of events with the fault in it.
    fn planted(&self, stream: &str) -> String {
        let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
        let mut events: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
        events.retain(|event| event["type"] != "ping");
        match self.fault {
            Fault::Answer(change) => change(&mut events),
            Fault::Cut => events.truncate(events.len() / 2),
            _ => {}
        }
        events.iter().map(frame).collect()
    }
}

/// The answer's content blocks, whole, and what comes after them; to be written back with [`set_blocks`].
pub(crate) fn blocks(events: &[Value]) -> Vec<Value> {
    let mut blocks: Vec<Value> = Vec::new();
    for event in events {
        match event["type"].as_str().unwrap() {
            "content_block_start" => blocks.push(event["content_block"].clone()),
            "content_block_delta" => {
                let (block, delta) = (blocks.last_mut().unwrap(), &event["delta"]);
                let piece = delta["text"].as_str().or(delta["partial_json"].as_str()).unwrap();
                let field = if block["type"] == "text" { "text" } else { "input" };
                let so_far = block[field].as_str().unwrap_or_default().to_owned();
                block[field] = (so_far + piece).into();
            }
            _ => {}
        }
    }
    blocks
}

/// Puts these blocks, each in one piece, in the place of the answer's. A call's `input` is JSON text.
pub(crate) fn set_blocks(events: &mut Vec<Value>, blocks: &[Value]) {
    let of_blocks = |event: &Value| event["type"].as_str().unwrap().starts_with("content_block_");
    let first = events.iter().position(of_blocks).unwrap();
    events.retain(|event| !of_blocks(event));
    let written = blocks.iter().enumerate().flat_map(|(index, block)| {
        let (mut start, delta) = (
            block.clone(),
            match block["type"].as_str().unwrap() {
                "text" => json!({"type": "text_delta", "text": block["text"]}),
                _ => json!({"type": "input_json_delta", "partial_json": block["input"]}),
            },
        );
        match block["type"].as_str().unwrap() {
            "text" => start["text"] = "".into(),
            _ => start["input"] = json!({}),
        }
        [
            json!({"type": "content_block_start", "index": index, "content_block": start}),
            json!({"type": "content_block_delta", "index": index, "delta": delta}),
            json!({"type": "content_block_stop", "index": index}),
        ]
    });
    events.splice(first..first, written.collect::<Vec<_>>());
}
