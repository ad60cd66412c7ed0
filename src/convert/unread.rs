//! Which fields of a Messages request the local model leaves unread.

use super::Omitted;
use super::openai_common::is_of_the_engine;
use crate::wire::{ContentBlock, MessagesRequest, System};

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
    for message in &request.messages {
        unread.fields("messages", &message.extra);
        message.content.listed().iter().for_each(|block| unread_of_block(block, &mut unread));
    }
    if let Some(System::Blocks(blocks)) = &request.system {
        let unreadable = blocks.iter().filter(|block| !matches!(block, ContentBlock::Text { .. }));
        unreadable.for_each(|block| unread.add(format!("system.{}", block.kind())));
    }
    unread
}

fn unread_of_block(block: &ContentBlock, unread: &mut Omitted) {
    match block {
        ContentBlock::RedactedThinking { .. } => unread.add("redacted_thinking"),
        ContentBlock::Document { extra, .. } if extra.get("citations").is_some_and(|citations| citations["enabled"] == true) => {
            unread.add("document.citations");
        }
        _ => {}
    }
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
            "system": [{"type": "image", "source": {}}, {"type": "text", "text": "a"}],
            "messages": [{"role": "user", "name": "u", "content": [{"type": "document", "source": {}, "citations": {"enabled": true}}]},
                {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}]});
        let unread = unread_fields(&serde_json::from_value(request).unwrap());
        assert_eq!(
            unread.to_string(),
            "context_management, document.citations, messages.name, metadata, output_config.effort, redacted_thinking, system.image, \
             thinking.budget_tokens, tools.input_examples"
        );
    }
}
