//! Reading a JSON body, with errors that name the field.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::error::ApiError;
use crate::wire::ErrorKind;

/// The largest request body that is read, in bytes. Anthropic has the same limit.
pub const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// A request's JSON body. Like Anthropic, it ignores the content type.
pub(crate) struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        refuse_compressed(request.headers())?;
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                ApiError::new(ErrorKind::RequestTooLarge, format!("the request is larger than {} MiB", BODY_LIMIT >> 20))
            }
            _ => {
                ApiError::new(ErrorKind::InvalidRequest, format!("the request's body cannot be read: {}", rejection.body_text()))
            }
        })?;
        parse(&bytes).map(Self).map_err(|reason| ApiError::new(ErrorKind::InvalidRequest, reason))
    }
}

fn refuse_compressed(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("unreadable")) {
        None | Some("identity") => Ok(()),
        Some(encoding) => Err(ApiError::new(
            ErrorKind::InvalidRequest,
            format!("content-encoding {encoding} is not supported: send the body uncompressed"),
        )),
    }
}

/// Parses a body. The error is one sentence that names the field: `messages.0.content.1.type: unknown variant …`.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    if bytes.is_empty() {
        return Err("the request has no body: a JSON object is expected".into());
    }
    serde_json::from_slice(bytes).map_err(|error| explain::<T>(bytes).unwrap_or_else(|| error.to_string()))
}

/// The error with the path to its field. Tracking paths takes time, so only bodies with an error are parsed this way.
fn explain<T: DeserializeOwned>(bytes: &[u8]) -> Option<String> {
    let error = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_slice(bytes)).err()?;
    let path = dotted(error.path());
    let reason = error.into_inner();
    Some(if path.is_empty() || !reason.is_data() { reason.to_string() } else { format!("{path}: {reason}") })
}

/// A path as Anthropic writes it: `messages.0.content.1`.
fn dotted(path: &serde_path_to_error::Path) -> String {
    let parts = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { variant } => Some(variant.clone()),
        Segment::Unknown => None,
    });
    parts.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MessagesRequest;

    #[test]
    fn an_error_names_the_field() {
        let cases = [
            ("", "the request has no body"),
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("[]", "invalid type: sequence, expected struct MessagesRequest"),
            (r#"{"model":"m","messages":[]}"#, "missing field `max_tokens`"),
            (r#"{"model":"m","messages":[],"max_tokens":-1}"#, "max_tokens: invalid value: integer `-1`"),
            (r#"{"model":"m","messages":[{"role":"user"}],"max_tokens":1}"#, "messages.0: missing field `content`"),
            (
                r#"{"model":"m","messages":[{"role":"robot","content":""}],"max_tokens":1}"#,
                "messages.0.role: unknown variant `robot`",
            ),
            (
                r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"hologram"}]}],"max_tokens":1}"#,
                "messages.0.content.1.type: unknown variant `hologram`",
            ),
            (
                r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}],"max_tokens":1}"#,
                "messages.0.content.0: missing field `text`",
            ),
            (r#"{"model":"m","messages":[],"max_tokens":1,"system":[{"type":"x"}]}"#, "system.0.type: unknown variant `x`"),
            (r#"{"model":"m","messages":[],"max_tokens":1,"tools":[{}]}"#, "tools.0: missing field `name`"),
            (r#"{"model":"m","messages":[],"max_tokens":1} x"#, "trailing characters"),
        ];
        for (body, expected) in cases {
            let error = parse::<MessagesRequest>(body.as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{body}\n  gave      {error}\n  expected  {expected}");
        }
    }
}
