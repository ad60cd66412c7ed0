//! Hashes of what a request shares with others, for caches and proxies between us and the model.

use sha2::{Digest, Sha256};

use crate::wire::{MessagesRequest, System};

/// SHA-256 of the parts of a request that a cache could share, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheKey {
    /// Hash of the system prompt alone. Sent as `X-Cache-System`.
    pub system: String,
    /// Hash of the tools and the system prompt, which is all that conversations share. Sent as `X-Cache-Hash`.
    pub shared: String,
}

impl CacheKey {
    /// The key of this request. What changes from turn to turn is left out: messages, cache breakpoints, the billing header.
    pub fn of(request: &MessagesRequest) -> Self {
        let system = request.system.as_ref().map(System::text).unwrap_or_default();
        let mut shared = Sha256::new();
        for tool in &request.tools {
            shared.update(format!("{}\0{}\0{}\0", tool.name, tool.description.as_deref().unwrap_or(""), tool.input_schema));
        }
        shared.update(&system);
        Self { system: format!("{:x}", Sha256::digest(&system)), shared: format!("{:x}", shared.finalize()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn key(fields: Value) -> CacheKey {
        let mut body = json!({"model": "m", "messages": [], "max_tokens": 1});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        CacheKey::of(&serde_json::from_value(body).unwrap())
    }

    #[test]
    fn only_what_conversations_share_changes_the_key() {
        let system = |billing: &str, text: &str| json!([{"type": "text", "text": format!("x-anthropic-billing-header: {billing}")}, {"type": "text", "text": text}]);
        let tool =
            |name: &str, control: Value| json!([{"name": name, "input_schema": {"type": "object"}, "cache_control": control}]);
        let first = key(json!({"system": system("1", "Be brief."), "tools": tool("Read", Value::Null)}));
        let other_turn = key(json!({
            "system": system("2", "Be brief."), "tools": tool("Read", json!({"type": "ephemeral"})),
            "messages": [{"role": "user", "content": "more"}],
        }));
        assert_eq!(first, other_turn);
        let other_tool = key(json!({"system": system("1", "Be brief."), "tools": tool("Write", Value::Null)}));
        assert!(first.system == other_tool.system && first.shared != other_tool.shared);
        assert_ne!(first.system, key(json!({"system": "Be long."})).system);
        assert_eq!(key(json!({"system": "abc"})).system, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
