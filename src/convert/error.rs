//! Converting errors between OpenAI-compatible servers and Anthropic's.

use serde_json::json;

use crate::wire::openai::{ChatError, ChatErrorBody};
use crate::wire::{ErrorBody, ErrorKind};

/// How Anthropic's message begins when a prompt exceeds the context.
const PROMPT_TOO_LONG: &str = "prompt is too long: ";

/// How Anthropic's message begins where there is no such model.
const MODEL: &str = "model: ";

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
    // LM Studio reports it with status 500. Limits of rate and access speak of contexts too, and mean something else.
    let can_be_too_long = matches!(kind, ErrorKind::InvalidRequest | ErrorKind::RequestTooLarge | ErrorKind::Api);
    if can_be_too_long && TOO_LONG.iter().any(|words| text.contains(words)) {
        return ErrorBody::new(ErrorKind::InvalidRequest, format!("{PROMPT_TOO_LONG}{message}"));
    }
    ErrorBody::new(kind, message)
}

/// Whether Anthropic's error says that the prompt exceeds the context.
pub fn is_too_long(body: &ErrorBody) -> bool {
    body.error.message.starts_with(PROMPT_TOO_LONG)
}

/// The kind of an error without a status: by its code, else by its type. Servers use OpenAI's names and Anthropic's.
fn kind_by_name(error: &ChatError) -> ErrorKind {
    let code = error.code.as_ref().and_then(|code| code.as_str());
    let names = [code, error.kind.as_deref()].into_iter().flatten();
    let mut kinds = names.filter_map(|name| match name {
        "rate_limit_exceeded" | "insufficient_quota" => Some(ErrorKind::RateLimit),
        "invalid_api_key" => Some(ErrorKind::Authentication),
        "model_not_found" => Some(ErrorKind::NotFound),
        "service_unavailable" => Some(ErrorKind::Overloaded),
        name => ErrorKind::of_name(name),
    });
    kinds.next().unwrap_or(ErrorKind::Api)
}

/// The field that an OpenAI protocol has the prompt in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptField {
    /// Chat completions.
    Messages,
    /// Responses.
    Input,
    /// Completions.
    Prompt,
}

impl PromptField {
    fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Input => "input",
            Self::Prompt => "prompt",
        }
    }
}

/// The error as OpenAI's API would report it, with the code that makes its clients trim, retry or fall back.
pub fn chat_error(body: &ErrorBody, prompt: PromptField) -> ChatErrorBody {
    let message = &body.error.message;
    let (kind, code) = match body.kind() {
        ErrorKind::InvalidRequest | ErrorKind::RequestTooLarge => ("invalid_request_error", None),
        ErrorKind::Authentication => ("invalid_request_error", Some("invalid_api_key")),
        ErrorKind::Permission => ("invalid_request_error", Some("permission_denied")),
        ErrorKind::NotFound if message.starts_with(MODEL) => ("invalid_request_error", Some("model_not_found")),
        ErrorKind::NotFound => ("invalid_request_error", Some("not_found")),
        ErrorKind::RateLimit => ("rate_limit_error", Some("rate_limit_exceeded")),
        ErrorKind::Api => ("server_error", None),
        ErrorKind::Overloaded => ("server_error", Some("service_unavailable")),
    };
    let error = |message: String, param: Option<&str>, code: Option<&str>| ChatErrorBody {
        error: ChatError {
            message,
            kind: Some(kind.into()),
            param: param.map(str::to_owned),
            code: code.map(|code| json!(code)),
            ..ChatError::default()
        },
    };
    match (body.kind(), message.strip_prefix(PROMPT_TOO_LONG)) {
        (ErrorKind::InvalidRequest, Some(reason)) => {
            error(too_long(reason, prompt), Some(prompt.name()), Some("context_length_exceeded"))
        }
        (ErrorKind::InvalidRequest, None) => error(message.clone(), field(message), code),
        (ErrorKind::NotFound, _) => match message.strip_prefix(MODEL) {
            Some(model) => error(format!("The model '{model}' does not exist"), Some("model"), code),
            None => error(message.clone(), None, code),
        },
        _ => error(message.clone(), None, code),
    }
}

/// OpenAI's sentence for a prompt that is too long, from the rest of Anthropic's: `9000 tokens > 8192 maximum`. A reason in
/// other words, as servers elsewhere give it, stays as it is.
fn too_long(reason: &str, prompt: PromptField) -> String {
    let prompt = prompt.name();
    let counts = reason.split_once(" tokens > ").and_then(|(tokens, rest)| Some((tokens, rest.split(' ').next()?)));
    counts.map_or_else(
        || reason.into(),
        |(tokens, most)| {
            format!(
                "This model's maximum context length is {most} tokens. However, your {prompt} resulted in {tokens} tokens. \
                 Please reduce the length of the {prompt}."
            )
        },
    )
}

/// The path of a field at the start of the message.
fn field(message: &str) -> Option<&str> {
    let (path, _) = message.split_once(": ")?;
    let is_path = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    (path.starts_with(|c: char| c.is_ascii_lowercase()) && path.chars().all(is_path)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn openais_clients_find_codes_and_fields() {
        let converted = |kind, message: &str| {
            let ChatError { message, kind, param, code, .. } =
                chat_error(&ErrorBody::new(kind, message), PromptField::Messages).error;
            json!([message, kind, param, code])
        };
        let invalid = "invalid_request_error";
        assert_eq!(
            converted(ErrorKind::InvalidRequest, "prompt is too long: 9000 tokens > 8192 maximum"),
            json!([
                "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. \
                    Please reduce the length of the messages.",
                invalid,
                "messages",
                "context_length_exceeded"
            ])
        );
        assert_eq!(
            converted(ErrorKind::InvalidRequest, "messages.0.content: Field required"),
            json!(["messages.0.content: Field required", invalid, "messages.0.content", null])
        );
        let elsewhere = "This model's maximum context length is 4096 tokens.";
        assert_eq!(
            converted(ErrorKind::InvalidRequest, &format!("prompt is too long: {elsewhere}")),
            json!([elsewhere, invalid, "messages", "context_length_exceeded"])
        );
        assert_eq!(
            converted(ErrorKind::Overloaded, "busy: later"),
            json!(["busy: later", "server_error", null, "service_unavailable"])
        );
        assert_eq!(
            converted(ErrorKind::NotFound, "model: gpt-x"),
            json!(["The model 'gpt-x' does not exist", invalid, "model", "model_not_found"])
        );
        assert_eq!(
            converted(ErrorKind::NotFound, "no such path: /v1/x"),
            json!(["no such path: /v1/x", invalid, null, "not_found"])
        );
        assert_eq!(converted(ErrorKind::Authentication, "no"), json!(["no", invalid, null, "invalid_api_key"]));
        assert_eq!(converted(ErrorKind::Api, "It failed: why"), json!(["It failed: why", "server_error", null, null]));
    }

    #[test]
    fn an_error_survives_the_way_to_chat_and_back() {
        for kind in ErrorKind::all() {
            let body = ErrorBody::new(kind, "reason");
            let back = error_body(&chat_error(&body, PromptField::Input).error, Some(kind.status()));
            assert_eq!(back, body);
        }
    }

    #[test]
    fn errors_keep_their_meaning() {
        let window = "tokens per minute for this context window";
        let cases: [(Value, Option<u16>, ErrorKind, &str); 12] = [
            (json!({"message": "gone", "type": "rate_limit_error", "code": "odd"}), None, ErrorKind::RateLimit, "gone"),
            (json!({"message": window}), Some(429), ErrorKind::RateLimit, window),
            (json!({"message": window}), Some(401), ErrorKind::Authentication, window),
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
