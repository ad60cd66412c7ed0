//! Reading a recorded body as what its protocol has there, and saying where and why it is not.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use crate::refuse;
use crate::wire::MessagesRequest;

/// Why a body is not what is expected. Shown behind the body's name: `request.body` and `.messages: …`, or ` is no JSON: …`.
#[derive(Debug, thiserror::Error)]
pub enum BodyFault {
    /// The recorder left it out; what it says of that.
    #[error(" is {0}")]
    NotRecorded(String),
    /// It is a text that is no JSON.
    #[error(" is no JSON: {0}")]
    NoJson(serde_json::Error),
    /// It is a text that reads as JSON.
    #[error(" is a text, no JSON object: its bytes were no UTF-8, or it is too heavy")]
    KeptAsText,
    /// It is something else than an object.
    #[error(" is {0}, no JSON object")]
    NoObject(&'static str),
    /// A field is missing or wrong.
    #[error("{field}: {reason}")]
    Field {
        /// The way to it, such as `.messages.0.content`; empty for the body itself.
        field: String,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
    /// It parses, but no server of its protocol takes it; the field and the reason, in the words of Anthropic's servers.
    #[error(": {0}")]
    Refused(String),
}

/// How the recorder begins what stands in place of a body that it left out.
const NOT_RECORDED: &str = "[not recorded: ";

/// Reads a body as an object of this type.
///
/// # Errors
/// It is none.
pub fn read_body<T: DeserializeOwned>(body: &Value) -> Result<T, BodyFault> {
    match body {
        Value::Object(_) => {}
        Value::String(text) if text.starts_with(NOT_RECORDED) => return Err(BodyFault::NotRecorded(text.clone())),
        Value::String(text) => {
            let parsed = serde_json::from_str::<IgnoredAny>(text);
            return Err(parsed.map_or_else(BodyFault::NoJson, |_| BodyFault::KeptAsText));
        }
        other => return Err(BodyFault::NoObject(kind_of(other))),
    }
    serde_path_to_error::deserialize(body).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { format!(".{path}") };
        BodyFault::Field { field, reason: error.into_inner() }
    })
}

/// Reads a body as a Messages request that a server of Anthropic's protocol takes, as the one of `anyclaude serve` does.
///
/// # Errors
/// It is no such request.
pub fn read_messages_request(body: &Value) -> Result<MessagesRequest, BodyFault> {
    let request = read_body(body)?;
    refuse::check_as_anthropic(&request).map_err(BodyFault::Refused)?;
    Ok(request)
}

/// What a value is, in words.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fault_says_where_and_what() {
        let fault = |body: Value| format!("request.body{}", read_body::<MessagesRequest>(&body).unwrap_err());
        insta::assert_snapshot!(fault(Value::Null), @"request.body is null, no JSON object");
        insta::assert_snapshot!(fault(json!([1])), @"request.body is a list, no JSON object");
        insta::assert_snapshot!(fault(json!("{\"model\": 5,\n]")), @"request.body is no JSON: key must be a string at line 2 column 1");
        insta::assert_snapshot!(fault(json!("{}")), @"request.body is a text, no JSON object: its bytes were no UTF-8, or it is too heavy");
        insta::assert_snapshot!(fault(json!("[not recorded: it broke off]")), @"request.body is [not recorded: it broke off]");
        insta::assert_snapshot!(fault(json!({"model": "m", "max_tokens": 5})), @"request.body: missing field `messages`");
        insta::assert_snapshot!(fault(json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": 7}]})), @"request.body.messages[0].content: invalid type: integer `7`, expected a string or a list of content blocks");
    }
}
