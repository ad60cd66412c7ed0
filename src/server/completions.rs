//! `POST /v1/completions`: continues a text as it is, for clients of OpenAI's first API. No chat template is applied.
//!
//! Errors have OpenAI's envelope, words and codes.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use time::OffsetDateTime;

use super::answer::{continuation, streaming, whole};
use super::app::App;
use super::body::JsonBody;
use super::error::ApiError;
use super::meter::Meter;
use super::observe::RequestId;
use super::openai_frames::frames;
use crate::backend::{WhyOmitted, say_omitted};
use crate::convert::{self, CompletionWriter, PromptField};
use crate::wire::openai::CompletionRequest;

/// Answers with a stream of chunks, or with the whole continuation.
pub(crate) async fn completions(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    JsonBody(completion): JsonBody<CompletionRequest>,
) -> Result<Response, ApiError> {
    let created = OffsetDateTime::now_utc().unix_timestamp();
    let mut writer = CompletionWriter::new(created, &completion.stream_options.clone().unwrap_or_default());
    let (text, settings, omitted) = convert::from_completion(completion).map_err(ApiError::invalid)?;
    say_omitted(&omitted, WhyOmitted::NothingReadsIt);
    let meter = Meter::start(app.metrics.clone(), id);
    let streamed = settings.stream;
    let events = continuation(app.backend.clone(), text, settings);
    if streamed {
        streaming(events, meter, app.options.ping_every, move |event| frames(writer.push(event), event, PromptField::Prompt))
            .await
    } else {
        whole(events, meter, |message| writer.whole(&message)).await
    }
}
