//! A small Messages server that answers deterministically and keeps a prefix cache: a token is a word, the cache is the
//! prompts so far. It can have one flaw.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyclaude::wire::{Content, ContentBlock, MessagesRequest, System, ToolChoice};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::listen;
use super::log::Log;

/// What is wrong with the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Flaw {
    None,
    /// It keeps no cache.
    NoCache,
    /// It says nothing of its cache.
    NoCacheFigures,
    /// It keeps what it was told to forget.
    NeverForgets,
    /// It answers another request where nearly all of the prompt is cached.
    WrongWhenCached,
    /// It answers differently each time.
    Fickle,
    /// The arguments of its calls are no JSON.
    MalformedArguments,
    /// It is overloaded.
    Overloaded,
    /// It sends an error in the middle of an answer.
    BreaksDown,
    /// It ends an answer in the middle.
    BreaksOff,
    /// It answers the first request and then says nothing more.
    HangsAfterOne,
    /// It answers the first request and then closes connections in the middle.
    DisconnectsAfterOne,
}

pub(crate) struct ReplayBackend {
    pub url: String,
    state: Arc<Server>,
}

struct Server {
    flaw: Flaw,
    cache: Mutex<Vec<Vec<String>>>,
    requests: Log<MessagesRequest>,
    /// The last request's `anthropic-beta`.
    betas: Mutex<String>,
    answers: AtomicUsize,
}

impl ReplayBackend {
    /// An anyclaude server: its cache can be controlled.
    pub(crate) fn with_cache_control(flaw: Flaw) -> Self {
        Self::start(
            flaw,
            Router::new()
                .route("/health", get(|| async { Json(json!({"status": "ok", "server": "anyclaude", "model": "scripted"})) }))
                .route("/cache/clear", post(clear))
                .route("/cache/keep-only", post(warm)),
        )
    }

    /// Some other server.
    pub(crate) fn without_cache_control(flaw: Flaw) -> Self {
        Self::start(flaw, Router::new())
    }

    fn start(flaw: Flaw, routes: Router<Arc<Server>>) -> Self {
        let (cache, betas, answers) = Default::default();
        let state = Arc::new(Server { flaw, cache, requests: Log::default(), betas, answers });
        let url = listen::routes(routes.route("/v1/messages", post(messages)).with_state(state.clone()));
        Self { url, state }
    }

    /// The Messages requests so far.
    pub(crate) fn requests(&self) -> Vec<MessagesRequest> {
        self.state.requests.all()
    }

    /// The last Messages request's `anthropic-beta`.
    pub(crate) fn betas(&self) -> String {
        self.state.betas.lock().unwrap().clone()
    }
}

async fn clear(State(server): State<Arc<Server>>) -> StatusCode {
    if server.flaw != Flaw::NeverForgets {
        server.cache.lock().unwrap().clear();
    }
    StatusCode::NO_CONTENT
}

async fn warm(State(server): State<Arc<Server>>, Json(request): Json<MessagesRequest>) -> StatusCode {
    let mut cache = server.cache.lock().unwrap();
    if server.flaw != Flaw::NeverForgets {
        cache.clear();
    }
    cache.push(shared_prefix(&request));
    StatusCode::NO_CONTENT
}

async fn messages(State(server): State<Arc<Server>>, headers: HeaderMap, Json(request): Json<MessagesRequest>) -> Response {
    server.requests.push(request.clone());
    *server.betas.lock().unwrap() = headers.get("anthropic-beta").map_or("", |value| value.to_str().unwrap()).to_owned();
    let nth = server.answers.fetch_add(1, Ordering::SeqCst);
    if server.flaw == Flaw::Overloaded {
        let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "try later"}});
        return (StatusCode::from_u16(529).unwrap(), Json(error)).into_response();
    }
    let mut prompt = shared_prefix(&request);
    prompt.extend(words(&conversation(&request)));
    let cached = server.cached(&prompt);
    let wrong = match server.flaw {
        Flaw::WrongWhenCached => cached + 1 == prompt.len(),
        Flaw::Fickle => nth > 0,
        _ => false,
    };
    let mut events = answer(&request, server.usage(prompt.len(), cached), wrong);
    server.cache.lock().unwrap().push(prompt);
    match server.flaw {
        Flaw::BreaksDown => {
            events.truncate(3);
            events.push(json!({"type": "error", "error": {"type": "api_error", "message": "out of memory"}}));
        }
        Flaw::BreaksOff => events.truncate(3),
        Flaw::MalformedArguments => {
            for piece in events.iter_mut().filter_map(|event| event.pointer_mut("/delta/partial_json")) {
                *piece = json!(piece.as_str().unwrap().replace('}', ""));
            }
        }
        _ => {}
    }
    let frames = events.into_iter().map(|event: Value| {
        let frame = format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
        Ok::<_, io::Error>(Bytes::from(frame))
    });
    let start = || stream::iter(frames.clone().take(1));
    let body = match server.flaw {
        Flaw::HangsAfterOne if nth > 0 => Body::from_stream(start().chain(stream::pending())),
        Flaw::DisconnectsAfterOne if nth > 0 => {
            Body::from_stream(start().chain(stream::iter([Err(io::ErrorKind::ConnectionReset.into())])))
        }
        _ => Body::from_stream(stream::iter(frames)),
    };
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

impl Server {
    /// The longest start of the prompt that some earlier prompt shares; the last token is always computed.
    fn cached(&self, prompt: &[String]) -> usize {
        let cache = self.cache.lock().unwrap();
        let shared = |earlier: &Vec<String>| earlier.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let cached = cache.iter().map(shared).max().unwrap_or(0).min(prompt.len() - 1);
        if self.flaw == Flaw::NoCache { 0 } else { cached }
    }

    fn usage(&self, prompt: usize, cached: usize) -> Value {
        match self.flaw {
            Flaw::NoCacheFigures => json!({"input_tokens": prompt, "output_tokens": 0}),
            _ => json!({"input_tokens": prompt - cached, "cache_read_input_tokens": cached, "output_tokens": 0}),
        }
    }
}

/// A template's opening, the system prompt, the tools.
fn shared_prefix(request: &MessagesRequest) -> Vec<String> {
    let system = match &request.system {
        Some(System::Text(text)) => text.clone(),
        Some(System::Blocks(blocks)) => texts(blocks),
        None => String::new(),
    };
    let tools = request.tools.iter().map(|tool| tool.name.clone());
    ["<system>".to_owned()].into_iter().chain(words(&system)).chain(tools).collect()
}

fn conversation(request: &MessagesRequest) -> String {
    let content = |content: &Content| match content {
        Content::Text(text) => text.clone(),
        Content::Blocks(blocks) => texts(blocks),
    };
    request.messages.iter().map(|message| content(&message.content)).collect::<Vec<_>>().join(" ")
}

fn texts(blocks: &[ContentBlock]) -> String {
    let text = |block: &ContentBlock| match block {
        ContentBlock::Text { text, .. } => text.clone(),
        _ => String::new(),
    };
    blocks.iter().map(text).collect::<Vec<_>>().join(" ")
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Text, and a call of the forced tool, else of the first; its argument is the last word of the conversation.
fn answer(request: &MessagesRequest, usage: Value, wrong: bool) -> Vec<Value> {
    let tool = match &request.tool_choice {
        Some(ToolChoice::Tool { name, .. }) => Some(name.clone()),
        _ => request.tools.first().map(|tool| tool.name.clone()),
    };
    let file = if wrong { "wrong.txt".into() } else { words(&conversation(request)).pop().unwrap_or_default() };
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "scripted", "content": [], "stop_reason": null,
        "stop_sequence": null, "usage": usage,
    });
    let delta = |index: usize, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let mut events = vec![
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        delta(0, json!({"type": "text_delta", "text": "Let me "})),
        delta(0, json!({"type": "text_delta", "text": "look."})),
        json!({"type": "content_block_stop", "index": 0}),
    ];
    let reason = if tool.is_some() { "tool_use" } else { "end_turn" };
    if let Some(name) = tool {
        let input = json!({"file_path": file}).to_string();
        let (head, tail) = input.split_at(7);
        events.extend([
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}}),
            delta(1, json!({"type": "input_json_delta", "partial_json": head})),
            delta(1, json!({"type": "input_json_delta", "partial_json": tail})),
            json!({"type": "content_block_stop", "index": 1}),
        ]);
    }
    events.extend([
        json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {"output_tokens": 12}}),
        json!({"type": "message_stop"}),
    ]);
    events
}
