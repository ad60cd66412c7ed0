//! Errors of OpenAI-compatible servers in Anthropic's terms.

use crate::wire::openai::ChatError;
use crate::wire::{ErrorBody, ErrorKind};

/// How servers say that a prompt does not fit.
const TOO_LONG: [&str; 5] = ["context length", "context_length", "maximum context", "context size", "context window"];

/// The error as Anthropic's API would give it; `status` is the HTTP status it came with, if it came with one of its own.
///
/// A prompt that does not fit gets the words that Claude Code looks for, so that it compacts the conversation.
pub fn error_body(error: &ChatError, status: Option<u16>) -> ErrorBody {
    let kind = error.status().or(status).map_or_else(|| kind_of_names(error), kind_of_status);
    let message = if error.message.is_empty() { "the model's server failed and did not say why" } else { error.message.as_str() };
    let code = error.code.as_ref().and_then(|code| code.as_str()).unwrap_or("");
    let text = format!("{message} {code}").to_lowercase();
    if TOO_LONG.iter().any(|words| text.contains(words)) {
        return ErrorBody::new(ErrorKind::InvalidRequest, format!("prompt is too long: {message}"));
    }
    ErrorBody::new(kind, message)
}

/// Anthropic's kind of error for an HTTP status.
pub fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Authentication,
        403 => ErrorKind::Permission,
        404 => ErrorKind::NotFound,
        413 => ErrorKind::RequestTooLarge,
        429 => ErrorKind::RateLimit,
        503 | 529 => ErrorKind::Overloaded,
        408 | 409 | 500.. => ErrorKind::Api,
        _ => ErrorKind::InvalidRequest,
    }
}

/// By the names that OpenAI gives to errors.
fn kind_of_names(error: &ChatError) -> ErrorKind {
    let code = error.code.as_ref().and_then(|code| code.as_str());
    match code.or(error.kind.as_deref()) {
        Some("rate_limit_exceeded" | "rate_limit_error" | "insufficient_quota") => ErrorKind::RateLimit,
        Some("invalid_api_key" | "authentication_error") => ErrorKind::Authentication,
        Some("model_not_found" | "not_found_error") => ErrorKind::NotFound,
        Some("overloaded_error" | "service_unavailable") => ErrorKind::Overloaded,
        Some("invalid_request_error") => ErrorKind::InvalidRequest,
        _ => ErrorKind::Api,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn errors_keep_their_meaning() {
        let cases: [(Value, Option<u16>, ErrorKind, &str); 8] = [
            (json!({"message": "slow down", "code": "rate_limit_exceeded"}), None, ErrorKind::RateLimit, "slow down"),
            (json!({"message": "slow down", "code": 429}), None, ErrorKind::RateLimit, "slow down"),
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
