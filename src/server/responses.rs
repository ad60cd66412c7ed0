//! `POST /v1/responses`: the same backends for clients of OpenAI's Responses API, such as Codex.
//!
//! Nothing is stored: each request brings its whole conversation. Errors have OpenAI's envelope, words and codes.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use time::OffsetDateTime;

use super::answer::{answer, streaming, whole};
use super::app::App;
use super::body::JsonBody;
use super::error::ApiError;
use super::meter::Meter;
use super::observe::RequestId;
use super::openai_frames::PING;
use crate::backend::{WhyOmitted, say_omitted};
use crate::convert::{self, FromResponses, ResponseWriter};
use crate::refuse;
use crate::wire::openai::responses::ResponsesRequest;
use crate::wire::{MessagesRequest, StreamEvent, Via, random_id};

/// Answers with a stream of events, or with the whole response.
pub(crate) async fn responses(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    via: Via,
    JsonBody(body): JsonBody<ResponsesRequest>,
) -> Result<Response, ApiError> {
    let created = OffsetDateTime::now_utc().unix_timestamp();
    let FromResponses { request, omitted, settings, names, fields } = convert::from_responses(body).map_err(ApiError::invalid)?;
    let request = MessagesRequest { via, ..request };
    let refused = refuse::check(&request).map_err(ApiError::invalid);
    refused.map_err(|error| error.in_fields(&fields))?;
    say_omitted(&omitted, WhyOmitted::NothingReadsIt);
    let mut writer = ResponseWriter::new(random_id("resp_"), created, request.model.clone(), settings, names);
    let meter = Meter::start(app.metrics.clone(), id);
    let streamed = request.stream;
    let events = answer(app.backend.clone(), request);
    let answered = if streamed {
        streaming(events, meter, app.options.ping_every, move |event| frames(&mut writer, event)).await
    } else {
        whole(events, meter, |message| writer.whole(&message)).await
    };
    answered.map_err(|error| error.in_fields(&fields))
}

/// The SSE frames for one event. A ping becomes a comment, which clients skip.
fn frames(writer: &mut ResponseWriter, event: &StreamEvent) -> Bytes {
    if let StreamEvent::Ping = event {
        return PING.into();
    }
    let frames: Vec<Bytes> = writer.push(event).iter().map(|event| event.encode()).collect();
    frames.concat().into()
}
