//! Errors of OpenAI-compatible servers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An error response's body: `{"error": …}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatErrorBody {
    pub error: ChatError,
}

/// What went wrong. LM Studio also sends a plain string, which becomes the message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "TextOrFields")]
pub struct ChatError {
    pub message: String,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub param: Option<String>,
    /// A name at OpenAI, an HTTP status at OpenRouter.
    pub code: Option<Value>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ChatError {
    /// The HTTP status in `code`, if there is one.
    pub fn status(&self) -> Option<u16> {
        let code = self.code.as_ref()?;
        let number = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
        u16::try_from(number).ok().filter(|status| (400..600).contains(status))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrFields {
    Text(String),
    Fields {
        #[serde(default)]
        message: String,
        #[serde(rename = "type", default)]
        kind: Option<String>,
        #[serde(default)]
        param: Option<String>,
        #[serde(default)]
        code: Option<Value>,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
}

impl From<TextOrFields> for ChatError {
    fn from(given: TextOrFields) -> Self {
        match given {
            TextOrFields::Text(message) => Self { message, ..Self::default() },
            TextOrFields::Fields { message, kind, param, code, extra } => Self { message, kind, param, code, extra },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_of_many_servers_are_read() {
        for (error, message, status) in [
            (json!("Model unloaded."), "Model unloaded.", None),
            (
                json!({"message": "no key", "type": "invalid_request_error", "param": null, "code": "invalid_api_key"}),
                "no key",
                None,
            ),
            (json!({"message": "slow down", "code": 429, "metadata": {"provider_name": "x"}}), "slow down", Some(429)),
            (json!({"message": "bad", "code": "503"}), "bad", Some(503)),
            (json!({"message": "odd", "code": 7}), "odd", None),
        ] {
            let read: ChatError = serde_json::from_value(error.clone()).unwrap();
            assert_eq!((read.message.as_str(), read.status()), (message, status), "{error}");
        }
    }
}
