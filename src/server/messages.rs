//! `POST /v1/messages` and `/v1/messages/count_tokens`.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::App;
use super::body::JsonBody;
use super::error::{ApiError, envelope};
use super::meter::Meter;
use super::observe::RequestId;
use crate::backend::{Backend, BackendError, EventStream};
use crate::wire::{Assembler, CountTokensRequest, ErrorKind, InputMessage, Message, MessagesRequest, StreamEvent, encode_event};

/// Answers with a stream of events, or with the message they make.
pub async fn messages(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    JsonBody(request): JsonBody<MessagesRequest>,
) -> Result<Response, ApiError> {
    require_messages(&request.messages)?;
    let meter = Meter::start(app.metrics.clone(), id);
    let streamed = request.stream;
    let events = answer(app.backend.clone(), request);
    if streamed {
        streaming(events, meter, app.options.ping_every, frame).await
    } else {
        Ok(Json(whole(events, meter).await?.with_empty_unfinished_inputs()).into_response())
    }
}

/// The number of prompt tokens.
pub async fn count_tokens(
    State(app): State<Arc<App>>,
    JsonBody(request): JsonBody<CountTokensRequest>,
) -> Result<Json<Value>, ApiError> {
    require_messages(&request.messages)?;
    let tokens = app.backend.count_tokens(request.into()).await?;
    Ok(Json(json!({ "input_tokens": tokens })))
}

/// There is nothing to answer where nobody has said anything; Anthropic's words.
fn require_messages(messages: &[InputMessage]) -> Result<(), ApiError> {
    if messages.is_empty() {
        return Err(ApiError::new(ErrorKind::InvalidRequest, "messages: at least one message is required"));
    }
    Ok(())
}

/// The backend's answer from its very beginning: what happens before the first event is part of the stream. Exactly one
/// `message_stop` or one error ends it; pings are left out, for the server sends its own.
pub(super) fn answer(backend: Arc<dyn Backend>, request: MessagesRequest) -> EventStream {
    let start = stream::once(async move { backend.messages(request).await }).try_flatten();
    // A bug in a backend must look like an error to the client, not like a lost connection.
    let events = AssertUnwindSafe(start).catch_unwind().map(|event| event.unwrap_or_else(|_| Err(bug())));
    Box::pin(stream! {
        for await event in events {
            let last = matches!(event, Ok(StreamEvent::MessageStop) | Err(_));
            if !matches!(event, Ok(StreamEvent::Ping)) {
                yield event;
            }
            if last {
                return;
            }
        }
        yield Err(BackendError::new(ErrorKind::Api, "the model's answer ended in the middle"));
    })
}

fn bug() -> BackendError {
    BackendError::new(ErrorKind::Api, "the model's backend failed unexpectedly: see the server's log")
}

/// Assembles the whole answer. The input of a tool call that was cut is a string, see [`Assembler`].
pub(super) async fn whole(mut events: EventStream, mut meter: Meter) -> Result<Message, ApiError> {
    let mut assembler = Assembler::default();
    while let Some(event) = events.next().await {
        let event = event.inspect_err(|error| meter.failed(error))?;
        meter.see(&event);
        assembler.push(&event).map_err(malformed)?;
    }
    assembler.finish().map_err(malformed)
}

fn malformed(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::Api, format!("the model's answer is malformed: {error}"))
}

/// An event as its SSE frame, with a ping after `message_start`.
fn frame(event: &StreamEvent) -> Bytes {
    let frame = encode_event(event);
    match event {
        StreamEvent::MessageStart { .. } => [frame, encode_event(&StreamEvent::Ping)].concat().into(),
        _ => frame,
    }
}

/// Answers with server-sent events, written by `encode`. An error that comes at once keeps its status; one that comes after
/// the first ping is an event.
pub(super) async fn streaming(
    mut events: EventStream,
    mut meter: Meter,
    ping_every: Duration,
    encode: impl FnMut(&StreamEvent) -> Bytes + Send + 'static,
) -> Result<Response, ApiError> {
    let first = match timeout(ping_every, events.next()).await {
        Ok(Some(Err(error))) => {
            meter.failed(&error);
            return Err(error.into());
        }
        Ok(first) => first.into_iter().collect(),
        Err(_silence) => vec![Ok(StreamEvent::Ping)],
    };
    let frames = frames(stream::iter(first).chain(events), meter, ping_every, encode);
    let headers = [(CONTENT_TYPE, "text/event-stream; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(frames)).into_response())
}

/// The events as SSE frames, with a ping whenever the backend is silent for long.
fn frames(
    events: impl Stream<Item = Result<StreamEvent, BackendError>> + Send,
    mut meter: Meter,
    ping_every: Duration,
    mut encode: impl FnMut(&StreamEvent) -> Bytes + Send,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream! {
        let mut events = std::pin::pin!(events);
        loop {
            let event = match timeout(ping_every, events.next()).await {
                Ok(None) => return,
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => {
                    meter.failed(&error);
                    StreamEvent::Error { body: envelope(error) }
                }
                Err(_silence) => StreamEvent::Ping,
            };
            meter.see(&event);
            yield Ok(encode(&event));
        }
    }
}
