//! `POST /v1/chat/completions`: the same backends for OpenAI's clients.
//!
//! Errors have OpenAI's envelope, words and codes.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use time::OffsetDateTime;

use super::answer::{answer, streaming, whole};
use super::app::App;
use super::body::JsonBody;
use super::error::ApiError;
use super::meter::Meter;
use super::observe::RequestId;
use super::openai_frames::frames;
use super::refuse;
use crate::convert::{self, ChunkWriter, PromptField};
use crate::wire::openai::ChatRequest;

/// Answers with a stream of chunks, or with the whole completion.
pub(crate) async fn completions(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    JsonBody(chat): JsonBody<ChatRequest>,
) -> Result<Response, ApiError> {
    let options = chat.stream_options.clone().unwrap_or_default();
    let created = OffsetDateTime::now_utc().unix_timestamp();
    let (request, omitted) = convert::from_chat(chat).map_err(ApiError::invalid)?;
    let refused = refuse::check(&request.messages, &request.tools, &request.extra).map_err(ApiError::invalid);
    refused.map_err(in_chat_fields)?;
    if !omitted.is_empty() {
        tracing::info!(%id, fields = %omitted, "left out: the Messages protocol has no counterpart");
    }
    let meter = Meter::start(app.metrics.clone(), id);
    let streamed = request.stream;
    let events = answer(app.backend.clone(), request);
    if streamed {
        let mut writer = ChunkWriter::new(created, &options);
        streaming(events, meter, app.options.ping_every, move |event| frames(writer.push(event), event, PromptField::Messages))
            .await
            .map_err(in_chat_fields)
    } else {
        let message = whole(events, meter).await.map_err(in_chat_fields)?;
        Ok(Json(convert::completion(message, created)).into_response())
    }
}

/// The error with the chat request's names for the fields that schemas are in.
fn in_chat_fields(error: ApiError) -> ApiError {
    error.map_message(|message| match message.strip_prefix("output_config.format.schema") {
        Some(rest) => format!("response_format.json_schema.schema{rest}"),
        None if message.starts_with("tools.") => {
            message.replacen(".input_schema", ".function.parameters", 1).replacen(".custom.name", ".function.name", 1)
        }
        None => message,
    })
}
