//! Converting errors of OpenAI-compatible servers to Anthropic's.

use crate::wire::openai::ChatError;
use crate::wire::{ErrorBody, ErrorKind};

/// What servers write when a prompt exceeds the context.
const TOO_LONG: [&str; 5] = ["context length", "context_length", "maximum context", "context size", "context window"];

/// The error as Anthropic's API would report it. `status` is the HTTP status of the response; `None` in mid-stream.
///
/// For a prompt that is too long it uses the words that make Claude Code compact the conversation.
pub fn error_body(error: &ChatError, status: Option<u16>) -> ErrorBody {
    let kind = error.status().or(status).map_or_else(|| kind_by_name(error), ErrorKind::of_status);
    let message = if error.message.is_empty() { "the model's server failed and did not say why" } else { error.message.as_str() };
    let code = error.code.as_ref().and_then(|code| code.as_str()).unwrap_or("");
    let text = format!("{message} {code}").to_lowercase();
    if TOO_LONG.iter().any(|words| text.contains(words)) {
        return ErrorBody::new(ErrorKind::InvalidRequest, format!("prompt is too long: {message}"));
    }
    ErrorBody::new(kind, message)
}

/// The kind of an error without a status: by its code, else by its type. Servers use OpenAI's names and Anthropic's.
fn kind_by_name(error: &ChatError) -> ErrorKind {
    let code = error.code.as_ref().and_then(|code| code.as_str());
    let Some(name) = code.or(error.kind.as_deref()) else { return ErrorKind::Api };
    ErrorKind::of_name(name).unwrap_or(match name {
        "rate_limit_exceeded" | "insufficient_quota" => ErrorKind::RateLimit,
        "invalid_api_key" => ErrorKind::Authentication,
        "model_not_found" => ErrorKind::NotFound,
        "service_unavailable" => ErrorKind::Overloaded,
        _ => ErrorKind::Api,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn errors_keep_their_meaning() {
        let cases: [(Value, Option<u16>, ErrorKind, &str); 9] = [
            (json!({"message": "slow down", "code": "rate_limit_exceeded"}), None, ErrorKind::RateLimit, "slow down"),
            (json!({"message": "slow down", "code": 429}), None, ErrorKind::RateLimit, "slow down"),
            (json!({"message": "not yours", "type": "permission_error"}), None, ErrorKind::Permission, "not yours"),
            (json!({"message": "no key", "type": "invalid_request_error"}), Some(401), ErrorKind::Authentication, "no key"),
            (json!({"message": "no credits", "code": 402}), Some(402), ErrorKind::InvalidRequest, "no credits"),
            (json!("Model crashed"), None, ErrorKind::Api, "Model crashed"),
            (json!({}), Some(503), ErrorKind::Overloaded, "the model's server failed and did not say why"),
            (
                json!({"message": "This model's maximum context length is 8192 tokens.", "code": "context_length_exceeded"}),
                Some(400),
                ErrorKind::InvalidRequest,
                "prompt is too long: This model's maximum context length is 8192 tokens.",
            ),
            (
                json!(
                    "Trying to keep the first 9000 tokens. However, the model is loaded with context length of only 4096 tokens"
                ),
                Some(500),
                ErrorKind::InvalidRequest,
                "prompt is too long: Trying to keep the first 9000 tokens. However, the model is loaded with context length of only 4096 tokens",
            ),
        ];
        for (error, status, kind, message) in cases {
            let body = error_body(&serde_json::from_value(error.clone()).unwrap(), status);
            assert_eq!(body, ErrorBody::new(kind, message), "{error}");
        }
    }
}
