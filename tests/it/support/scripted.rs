//! A server whose answers are written by the test: the real server module over a backend that plays a script.

use std::sync::Arc;

use anyclaude::backend::{Backend, BackendError, CacheControl, EventStream, ModelLimits};
use anyclaude::server::ServerOptions;
use anyclaude::wire::{Content, ContentBlock, Message, MessagesRequest, StreamEvent, Usage};
use async_stream::stream;
use futures::future::{BoxFuture, ready};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::deadline::soon;
use super::listen;
use super::log::Log;

/// One step of an answer.
pub(crate) enum Step {
    Event(Box<StreamEvent>),
    /// Breaks the answer off with this error.
    Fail(BackendError),
    /// Says nothing until the test lets it go on.
    Wait(Arc<Notify>),
    /// A bug in the backend.
    Panic,
}

/// What happens on one request: an error before the first event, or these steps.
pub(crate) type Script = Result<Vec<Step>, BackendError>;

type Answer = Box<dyn Fn(&MessagesRequest) -> Script + Send + Sync>;

/// A backend that answers each request with the script its function gives, and remembers what it was asked.
pub(crate) struct Scripted {
    answer: Answer,
    with_cache: bool,
    /// The requests so far.
    pub requests: Log<MessagesRequest>,
    /// Calls of the cache control so far.
    pub cache_calls: Log<String>,
    /// Notified whenever an answer's stream is dropped before its end.
    cancelled: Arc<Notify>,
}

impl Scripted {
    pub(crate) fn new(answer: impl Fn(&MessagesRequest) -> Script + Send + Sync + 'static) -> Self {
        Self {
            answer: Box::new(answer),
            with_cache: false,
            requests: Log::default(),
            cache_calls: Log::default(),
            cancelled: Arc::default(),
        }
    }

    pub(crate) fn with_cache(self) -> Self {
        Self { with_cache: true, ..self }
    }

    /// Returns when an answer's stream has been dropped before its end.
    pub(crate) async fn is_cancelled(&self) {
        soon("the end of the backend's answer", self.cancelled.notified()).await;
    }

    /// Serves this backend on a free port of 127.0.0.1.
    pub(crate) fn serve(self) -> Served {
        self.serve_with(ServerOptions::default())
    }

    pub(crate) fn serve_with(self, options: ServerOptions) -> Served {
        let backend = Arc::new(self);
        Served { url: listen::backend(backend.clone(), options), backend }
    }
}

/// A scripted server and its backend.
pub(crate) struct Served {
    pub url: String,
    pub backend: Arc<Scripted>,
}

/// A backend that says "Hi" once the test lets it.
pub(crate) fn says_hi_after(go: Arc<Notify>) -> Scripted {
    Scripted::new(move |_| {
        let mut steps = answer(&[json!({"text": "Hi"})]);
        steps.insert(0, Step::Wait(go.clone()));
        Ok(steps)
    })
}

/// The steps of an answer with these blocks: `{"text": …}` or `{"tool": name, "input": …}`.
pub(crate) fn answer(blocks: &[Value]) -> Vec<Step> {
    let usage = Usage { input_tokens: 12, cache_read_input_tokens: Some(30), output_tokens: 1, ..Usage::default() };
    let mut events = vec![json!({"type": "message_start", "message": Message::empty("msg_scripted", "scripted", usage)})];
    let mut reason = "end_turn";
    for (index, block) in blocks.iter().enumerate() {
        let (start, deltas) = match block.get("tool") {
            Some(name) => {
                reason = "tool_use";
                // The client asks for ever where an id comes a second time in a conversation.
                let id = format!("toolu_{}", uuid::Uuid::new_v4().simple());
                let (head, tail) = halves(&block["input"].to_string());
                let delta = |piece| json!({"type": "input_json_delta", "partial_json": piece});
                (json!({"type": "tool_use", "id": id, "name": name, "input": {}}), [delta(head), delta(tail)])
            }
            None => {
                let (head, tail) = halves(block["text"].as_str().unwrap());
                let delta = |piece| json!({"type": "text_delta", "text": piece});
                (json!({"type": "text", "text": ""}), [delta(head), delta(tail)])
            }
        };
        events.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
        events.extend(deltas.map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})));
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    let delta = json!({"stop_reason": reason, "stop_sequence": null});
    events.push(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7}}));
    events.push(json!({"type": "message_stop"}));
    events.into_iter().map(|event| Step::Event(Box::new(serde_json::from_value(event).unwrap()))).collect()
}

fn halves(text: &str) -> (String, String) {
    let middle = (text.len() / 2..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap();
    (text[..middle].to_owned(), text[middle..].to_owned())
}

/// Notifies when it is dropped before the end was reached.
struct Unfinished(Option<Arc<Notify>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(cancelled) = &self.0 {
            cancelled.notify_one();
        }
    }
}

impl Backend for Scripted {
    fn name(&self) -> String {
        "scripted".into()
    }

    fn model(&self) -> String {
        "scripted".into()
    }

    fn limits(&self) -> BoxFuture<'_, ModelLimits> {
        Box::pin(ready(ModelLimits { context: Some(65_536), output: Some(4_096) }))
    }

    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        let script = (self.answer)(&request);
        self.requests.push(request);
        let mut unfinished = Unfinished(Some(self.cancelled.clone()));
        Box::pin(async move {
            let steps = script.inspect_err(|_| unfinished.0 = None)?;
            let events = EventStream::new(stream! {
                let mut unfinished = unfinished;
                for step in steps {
                    match step {
                        Step::Event(event) => yield Ok(*event),
                        Step::Fail(error) => yield Err(error),
                        Step::Wait(go) => go.notified().await,
                        Step::Panic => panic!("a scripted bug"),
                    }
                }
                unfinished.0 = None;
            });
            Ok(events)
        })
    }

    fn count_tokens(&self, request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        let tokens = request.messages.len() as u64 * 10;
        self.requests.push(request);
        Box::pin(async move { Ok(tokens) })
    }

    fn cache(&self) -> Option<&dyn CacheControl> {
        self.with_cache.then_some(self as _)
    }
}

impl CacheControl for Scripted {
    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        self.cache_calls.push("clear".into());
        Box::pin(async { Ok(()) })
    }

    fn keep_shared_prefix(&self, request: MessagesRequest) -> BoxFuture<'_, Result<(), BackendError>> {
        self.cache_calls.push(format!("warm {}", request.model));
        Box::pin(async { Ok(()) })
    }
}

/// A server that calls these tools one after the other, then says goodbye.
pub(crate) fn calling(calls: Vec<Value>) -> Served {
    let next = move |request: &MessagesRequest| calls.get(tool_results(request).len()).cloned();
    Scripted::new(move |request| Ok(answer(&[next(request).unwrap_or(json!({"text": "All done."}))]))).serve()
}

/// The results of the tools called so far, in order.
pub(crate) fn tool_results(request: &MessagesRequest) -> Vec<&ContentBlock> {
    let blocks = request.messages.iter().filter_map(|message| match &message.content {
        Content::Blocks(blocks) => Some(blocks),
        Content::Text(_) => None,
    });
    blocks.flatten().filter(|block| matches!(block, ContentBlock::ToolResult { .. })).collect()
}
