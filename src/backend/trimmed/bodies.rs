//! Trimming request bodies that are forwarded to another server.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::Value;

use super::{TrimRules, TrimSavings};
use crate::convert::{Dialect, estimated_tokens, to_chat};
use crate::wire::{Endpoint, MessagesRequest};

/// Applies trimming rules to request bodies.
#[derive(Debug)]
pub struct TrimmedBodies {
    rules: TrimRules,
    /// The first request with tools, as the client sent it. The savings are computed from it.
    sample: OnceLock<MessagesRequest>,
}

impl TrimmedBodies {
    /// Bodies will be trimmed by these rules.
    pub fn new(rules: TrimRules) -> Self {
        Self { rules, sample: OnceLock::new() }
    }

    /// The body to forward in place of this one. A body that is not a Messages request is forwarded as it is.
    pub fn apply(&self, path: &str, body: Bytes) -> Bytes {
        if !matches!(Endpoint::of_path(path), Endpoint::Messages | Endpoint::CountTokens) {
            return body;
        }
        let Ok(mut value) = serde_json::from_slice::<Value>(&body) else { return body };
        if self.sample.get().is_none()
            && let Ok(request) = serde_json::from_slice::<MessagesRequest>(&body)
            && !request.tools.is_empty()
        {
            // Fails if a concurrent request was faster, which makes as good a sample.
            self.sample.set(request).ok();
        }
        let tools = |value: &Value| value["tools"].as_array().map_or(0, Vec::len);
        let sent = tools(&value);
        self.rules.apply_to_body(&mut value);
        tracing::debug!("prompt trimmed: {sent} tools to {}", tools(&value));
        serde_json::to_vec(&value).map_or(body, Bytes::from)
    }

    /// What is saved on the first request with tools, its tokens estimated. `None` if there was none.
    pub fn savings(&self) -> Option<TrimSavings> {
        let sent = self.sample.get()?;
        let trimmed = self.rules.apply(sent.clone());
        let tokens = |request: &MessagesRequest| estimated_tokens(&to_chat(request, &request.model, Dialect::Compatible).request);
        Some(TrimSavings {
            tools: (sent.tools.len(), trimmed.tools.len()),
            tokens: (tokens(sent), tokens(&trimmed)),
            absent: self.rules.absent(sent),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_trimmed_and_everything_else_stays() {
        let bodies = TrimmedBodies::new(TrimRules { tools_only: vec!["Read".into()], compact_tools: false });
        let sent = r#"{"model":"m","tools":[{"name":"Read","input_schema":{}},{"name":"Bash"}],"max_tokens":1,"messages":[]}"#;
        let trimmed = r#"{"model":"m","tools":[{"name":"Read","input_schema":{}}],"max_tokens":1,"messages":[]}"#;
        for (path, body, expected) in [
            ("/v1/messages", sent, trimmed),
            ("/v1/messages/count_tokens", sent, trimmed),
            ("/v1/models", sent, sent),
            ("/v1/messages", "{", "{"),
        ] {
            assert_eq!(bodies.apply(path, Bytes::from_static(body.as_bytes())), expected, "{path}");
        }
        let savings = bodies.savings().unwrap();
        assert_eq!(savings.tools, (2, 1));
        assert!(savings.tokens.0 > savings.tokens.1, "{savings:?}");
    }
}
