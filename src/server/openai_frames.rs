//! The frames of OpenAI's streams.

use axum::body::Bytes;
use serde::Serialize;
use serde_json::json;

use crate::convert::{self, PromptField};
use crate::wire::StreamEvent;

/// A comment in the place of a ping. Clients skip it.
pub(crate) const PING: &str = ": ping\n\n";

/// The SSE frames for one event: its `chunks`, or OpenAI's forms of pings, errors and the end. `prompt` is the field that errors
/// name.
pub(crate) fn frames<Chunk: Serialize>(
    chunks: impl IntoIterator<Item = Chunk>,
    event: &StreamEvent,
    prompt: PromptField,
) -> Bytes {
    let mut text = String::new();
    for chunk in chunks {
        // Cannot fail: every field is a string, a number or a map with string keys.
        text += &format!("data: {}\n\n", serde_json::to_string(&chunk).unwrap_or_default());
    }
    match event {
        StreamEvent::Ping => text += PING,
        StreamEvent::Error { body } => text += &format!("data: {}\n\n", json!(convert::chat_error(body, prompt))),
        StreamEvent::MessageStop => text += "data: [DONE]\n\n",
        _ => {}
    }
    text.into()
}
