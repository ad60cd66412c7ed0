//! `POST /v1/messages` and `/v1/messages/count_tokens`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::answer::{answer, streaming, whole};
use super::app::App;
use super::body::JsonBody;
use super::error::ApiError;
use super::meter::Meter;
use super::observe::RequestId;
use crate::refuse;
use crate::wire::{CountTokensRequest, Message, MessagesRequest, StreamEvent, Via, encode_event};

/// Answers with a stream of events, or with the message they assemble to.
pub(crate) async fn messages(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    via: Via,
    JsonBody(request): JsonBody<MessagesRequest>,
) -> Result<Response, ApiError> {
    refuse::check_as_anthropic(&request).map_err(ApiError::invalid)?;
    let request = MessagesRequest { via, ..request };
    let meter = Meter::start(app.metrics.clone(), id);
    let streamed = request.stream;
    let events = answer(app.backend.clone(), request);
    if streamed {
        streaming(events, meter, app.options.ping_every, frame).await
    } else {
        whole(events, meter, Message::with_empty_unfinished_inputs).await
    }
}

/// Answers with the number of prompt tokens.
pub(crate) async fn count_tokens(
    State(app): State<Arc<App>>,
    via: Via,
    JsonBody(request): JsonBody<CountTokensRequest>,
) -> Result<Json<Value>, ApiError> {
    let request = MessagesRequest { via, ..MessagesRequest::from(request) };
    refuse::check_as_anthropic(&request).map_err(ApiError::invalid)?;
    let tokens = app.backend.count_tokens(request).await?;
    Ok(Json(json!({ "input_tokens": tokens })))
}

/// An event's SSE frame. A ping follows `message_start`, as at Anthropic.
fn frame(event: &StreamEvent) -> Bytes {
    let frame = encode_event(event);
    match event {
        StreamEvent::MessageStart { .. } => [frame, encode_event(&StreamEvent::Ping)].concat().into(),
        _ => frame,
    }
}
