//! The lines of a transcript that matter for its requests. Claude Code documents none of them; other kinds are passed over.

use serde::Deserialize;
use serde_json::{Map, Value};

/// What a line is.
pub(super) enum Line {
    Shape(Shape),
    Blob(Blob),
    Request(Box<Request>),
    Assistant(Box<AssistantLine>),
    User(UserLine),
    Other,
}

/// A system prompt with the tools, under the digest that requests name it by.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shape {
    pub shape_hash: String,
    /// `system` and `tools`, without the billing header and what is said about caching.
    pub shape: Map<String, Value>,
}

/// A message that stands in no other line.
#[derive(Deserialize)]
pub(super) struct Blob {
    pub hash: String,
    /// `role`, `content` and settings for one turn, as they are sent.
    pub message: Map<String, Value>,
}

/// A request by what changed since an earlier one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    pub id: String,
    pub session_id: String,
    pub agent_id: Option<String>,
    /// RFC 3339, in UTC.
    pub timestamp: String,
    /// Claude Code's version.
    pub version: String,
    pub shape_hash: String,
    /// All of the body but its messages, system prompt and tools; `betas` go into a header.
    pub params: Map<String, Value>,
    /// The request whose messages this one begins with.
    pub base: Option<String>,
    /// How many of them it keeps.
    #[serde(default)]
    pub keep: usize,
    /// The digests of the messages behind those.
    pub tail: Vec<String>,
    /// What it says about caching, and where.
    #[serde(default)]
    pub cache_control: Vec<CacheMark>,
    /// The digest of the whole.
    pub request_digest: Option<String>,
    /// Set if something large is not in the transcript.
    pub cut: Option<Value>,
    /// Names of fields whose values are not in the transcript.
    #[serde(default)]
    pub withheld: Vec<String>,
}

/// A `cache_control` and its place in the body.
#[derive(Deserialize)]
pub(super) struct CacheMark {
    /// Keys and indices.
    pub path: Vec<Value>,
    pub value: Value,
}

/// A content block of an answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AssistantLine {
    /// The message that the block belongs to.
    pub message: Map<String, Value>,
    /// The request that it answers.
    pub request_ref: Option<String>,
    /// The upstream's name for the request.
    pub request_id: Option<String>,
    /// The block's place in the answer.
    pub api_block_index: Option<usize>,
    /// Whether Claude Code wrote it itself, to show an error.
    #[serde(default)]
    pub is_api_error_message: bool,
}

/// What a user or a tool said.
#[derive(Deserialize)]
pub(super) struct UserLine {
    pub message: UserMessage,
}

/// The message of such a line.
#[derive(Deserialize)]
pub(super) struct UserMessage {
    pub content: Value,
}

/// Reads a line.
///
/// # Errors
/// It is no JSON object, or one of these kinds without a field that it needs.
pub(super) fn read(line: &[u8]) -> serde_json::Result<Line> {
    #[derive(Deserialize)]
    struct Kind {
        r#type: Option<Value>,
    }
    let kind: Kind = serde_json::from_slice(line)?;
    Ok(match kind.r#type.as_ref().and_then(Value::as_str) {
        Some("api-request-shape") => Line::Shape(serde_json::from_slice(line)?),
        Some("api-request-blob") => Line::Blob(serde_json::from_slice(line)?),
        Some("api-request") => Line::Request(serde_json::from_slice(line)?),
        Some("assistant") => Line::Assistant(serde_json::from_slice(line)?),
        Some("user") => Line::User(serde_json::from_slice(line)?),
        _ => Line::Other,
    })
}
