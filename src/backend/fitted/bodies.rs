//! The fitting of requests that are passed on as bytes, to a server elsewhere.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::Value;

use super::{Fitting, Savings};
use crate::convert::{Dialect, estimated_tokens, to_chat};
use crate::wire::MessagesRequest;

/// A fitting for the bodies of requests.
#[derive(Debug)]
pub struct FittedBodies {
    fitting: Fitting,
    /// The first request that had tools, as the client sent it: what the savings are told of.
    sample: OnceLock<MessagesRequest>,
}

impl FittedBodies {
    /// Bodies will be fitted so.
    pub fn new(fitting: Fitting) -> Self {
        Self { fitting, sample: OnceLock::new() }
    }

    /// The body that goes on in place of this one. What is no Messages request goes on as it is.
    pub fn apply(&self, path: &str, body: Bytes) -> Bytes {
        if !matches!(path, "/v1/messages" | "/v1/messages/count_tokens") {
            return body;
        }
        let Ok(mut value) = serde_json::from_slice::<Value>(&body) else { return body };
        if self.sample.get().is_none()
            && let Ok(request) = serde_json::from_slice::<MessagesRequest>(&body)
            && !request.tools.is_empty()
        {
            // Fails where another request was first, which is as good.
            self.sample.set(request).ok();
        }
        let tools = |value: &Value| value["tools"].as_array().map_or(0, Vec::len);
        let sent = tools(&value);
        self.fitting.apply_to_body(&mut value);
        tracing::debug!("prompt fitted: {sent} tools to {}", tools(&value));
        serde_json::to_vec(&value).map_or(body, Bytes::from)
    }

    /// What it saves on the first request that had tools, with estimated numbers of tokens. `None` where none came.
    pub fn savings(&self) -> Option<Savings> {
        let sent = self.sample.get()?;
        let fitted = self.fitting.apply(sent.clone());
        let tokens = |request: &MessagesRequest| estimated_tokens(&to_chat(request, &request.model, Dialect::Compatible).request);
        Some(Savings {
            tools: (sent.tools.len(), fitted.tools.len()),
            tokens: (tokens(sent), tokens(&fitted)),
            absent: self.fitting.absent(sent),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_fitted_and_everything_else_stays() {
        let bodies = FittedBodies::new(Fitting { tools_only: vec!["Read".into()], compact_tools: false });
        let sent = r#"{"model":"m","tools":[{"name":"Read","input_schema":{}},{"name":"Bash"}],"max_tokens":1,"messages":[]}"#;
        let fitted = r#"{"model":"m","tools":[{"name":"Read","input_schema":{}}],"max_tokens":1,"messages":[]}"#;
        for (path, body, expected) in [
            ("/v1/messages", sent, fitted),
            ("/v1/messages/count_tokens", sent, fitted),
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
