//! Which fields of a Messages request the local model leaves unread.

use super::Omitted;
use super::openai_common::is_of_the_engine;
use crate::wire::{ContentBlock, MessagesRequest};

/// Further fields of the request that the engine reads, beside those of its sampler.
const READ: [&str; 2] = ["output_format", "cache_control"];

/// Fields of a tool that the engine reads, or that say what the tool is.
const READ_OF_TOOLS: [&str; 4] = ["type", "strict", "defer_loading", "cache_control"];

/// The names of the fields that have no effect on the answer of the local model, for the log.
pub fn unread_fields(request: &MessagesRequest) -> Omitted {
    let mut unread = Omitted::default();
    for (name, value) in request.extra.iter().filter(|(_, value)| !value.is_null()) {
        let read: &[&str] = match name.as_str() {
            "thinking" => &["type", "display"],
            "output_config" => &["format"],
            name if READ.contains(&name) || is_of_the_engine(name) => continue,
            _ => &[],
        };
        match value.as_object().filter(|_| !read.is_empty()) {
            Some(fields) => {
                unread.fields(name, &fields.clone().into_iter().filter(|(name, _)| !read.contains(&&**name)).collect())
            }
            None => unread.add(name),
        }
    }
    for tool in request.tools.iter().filter(|tool| tool.anthropic_type().is_none()) {
        let fields = tool.extra.clone().into_iter().filter(|(name, _)| !READ_OF_TOOLS.contains(&&**name));
        unread.fields("tools", &fields.collect());
    }
    for block in request.messages.iter().flat_map(|message| message.content.listed()) {
        if let ContentBlock::Document { extra, .. } = block
            && let Some(citations) = extra.get("citations").filter(|citations| citations["enabled"] == true)
        {
            unread.fields("document", &[("citations".to_owned(), citations.clone())].into_iter().collect());
        }
    }
    unread
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_without_effect_is_named() {
        let request = json!({"model": "m", "max_tokens": 1, "seed": 7, "cache_control": {"type": "ephemeral"}, "speed": null,
            "metadata": {"user_id": "u"}, "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"},
            "output_config": {"effort": "low", "format": null}, "context_management": {"edits": []},
            "tools": [{"name": "a", "strict": true, "input_examples": []}, {"type": "bash_20250124", "name": "bash", "x": 1}],
            "messages": [{"role": "user", "content": [{"type": "document", "source": {}, "citations": {"enabled": true}}]}]});
        let unread = unread_fields(&serde_json::from_value(request).unwrap());
        assert_eq!(
            unread.to_string(),
            "context_management, document.citations, metadata, output_config.effort, thinking.budget_tokens, tools.input_examples"
        );
    }
}
