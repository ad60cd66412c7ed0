//! `POST /v1/chat/completions`: the same backends for OpenAI's clients.
//!
//! Errors have OpenAI's envelope, words and codes.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use time::OffsetDateTime;

use super::answer::{answer, streaming, whole};
use super::app::App;
use super::body::JsonBody;
use super::error::ApiError;
use super::meter::Meter;
use super::observe::RequestId;
use super::openai_frames::frames;
use crate::backend::{WhyOmitted, say_omitted};
use crate::convert::{self, ChunkWriter, FromChat, PromptField};
use crate::refuse;
use crate::wire::openai::ChatRequest;
use crate::wire::{MessagesRequest, Via};

/// Answers with a stream of chunks, or with the whole completion.
pub(crate) async fn completions(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    via: Via,
    JsonBody(chat): JsonBody<ChatRequest>,
) -> Result<Response, ApiError> {
    let options = chat.stream_options.clone().unwrap_or_default();
    let created = OffsetDateTime::now_utc().unix_timestamp();
    let FromChat { request, omitted, fields } = convert::from_chat(chat).map_err(ApiError::invalid)?;
    let request = MessagesRequest { via, ..request };
    let refused = refuse::check(&request).map_err(ApiError::invalid);
    refused.map_err(|error| error.in_fields(&fields))?;
    say_omitted(&omitted, WhyOmitted::NothingReadsIt);
    let meter = Meter::start(app.metrics.clone(), id);
    let streamed = request.stream;
    let events = answer(app.backend.clone(), request);
    let answered = if streamed {
        let mut writer = ChunkWriter::new(created, &options);
        let frames = move |event: &_| frames(writer.push(event), event, PromptField::Messages);
        streaming(events, meter, app.options.ping_every, frames).await
    } else {
        whole(events, meter, |message| convert::completion(message, created)).await
    };
    answered.map_err(|error| error.in_fields(&fields))
}
