//! Which fields of a Messages request the local model leaves unread.

use serde_json::Value;

use super::Omitted;
use crate::wire::{ContentBlock, ENGINE_FIELDS, MessagesRequest, System};

/// Further fields of the request that the engine reads, beside those of its sampler. Of the objects among them it reads some
/// fields.
const READ: [&str; 4] = ["thinking", "output_config", "output_format", "cache_control"];

/// What a request says of taking parts out of a long conversation.
const CONTEXT_MANAGEMENT: &str = "context_management";

/// Fields of a tool that the engine reads, or that say what the tool is.
const READ_OF_TOOLS: [&str; 4] = ["type", "strict", "defer_loading", "cache_control"];

/// Fields of an output format that the engine reads. Its name says nothing.
const READ_OF_FORMATS: [&str; 4] = ["type", "schema", "strict", "name"];

/// The names of the fields that have no effect on the answer of the local model, for the log.
pub fn unread_fields(request: &MessagesRequest) -> Omitted {
    let mut unread = Omitted::default();
    unread.unread("", &request.extra, &[&READ[..], &ENGINE_FIELDS, &[CONTEXT_MANAGEMENT]].concat());
    if request.extra.get(CONTEXT_MANAGEMENT).is_some_and(|management| !keeps_all(management)) {
        unread.add(CONTEXT_MANAGEMENT);
    }
    unread_inside("thinking", request.extra.get("thinking"), &["type", "display"], &mut unread);
    let config = request.extra.get("output_config");
    unread_inside("output_config", config, &["format", "effort"], &mut unread);
    let format = config.and_then(|config| config.get("format"));
    unread_inside("output_config.format", format, &READ_OF_FORMATS, &mut unread);
    unread_inside("output_format", request.extra.get("output_format"), &READ_OF_FORMATS, &mut unread);
    for tool in request.tools.iter().filter(|tool| tool.anthropic_type().is_none()) {
        unread.unread("tools", &tool.extra, &READ_OF_TOOLS);
    }
    for message in &request.messages {
        unread.unread("messages", &message.extra, &["output_config"]);
        unread_inside("messages.output_config", message.extra.get("output_config"), &["effort"], &mut unread);
        message.content.listed().iter().for_each(|block| unread_of_block(block, &mut unread));
    }
    if let Some(System::Blocks(blocks)) = &request.system {
        for block in blocks {
            match block {
                ContentBlock::Text { .. } => unread_of_block(block, &mut unread),
                other => unread.add(format!("system.{}", other.kind())),
            }
        }
    }
    unread
}

/// Whether the management of a context takes nothing out of it. Claude Code asks for this.
fn keeps_all(management: &Value) -> bool {
    let edits = management.get("edits").and_then(Value::as_array);
    management.is_null() || edits.is_some_and(|edits| edits.iter().all(|edit| edit["keep"] == "all"))
}

/// Adds the unread fields of an object, if it is one.
fn unread_inside(owner: &str, object: Option<&Value>, read: &[&str], unread: &mut Omitted) {
    if let Some(fields) = object.and_then(Value::as_object) {
        unread.unread(owner, fields, read);
    }
}

fn unread_of_block(block: &ContentBlock, unread: &mut Omitted) {
    let read: &[&str] = match block {
        ContentBlock::RedactedThinking { .. } => return unread.add("redacted_thinking"),
        // Whatever is in them is shown or described.
        ContentBlock::Other(_) => return,
        ContentBlock::Document { extra, .. } if extra.get("citations").is_none_or(|citations| citations["enabled"] != true) => {
            &["cache_control", "title", "context", "citations"]
        }
        ContentBlock::Document { .. } => &["cache_control", "title", "context"],
        _ => &["cache_control"],
    };
    if let Some(extra) = block.extra() {
        unread.unread(block.kind(), extra, read);
    }
    if let ContentBlock::ToolResult { content: Some(content), .. } = block {
        content.listed().iter().for_each(|inner| unread_of_block(inner, unread));
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
            "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}, "name": "n", "description": "d"}},
            "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
            "tools": [{"name": "a", "strict": true, "input_examples": []}, {"type": "bash_20250124", "name": "bash", "x": 1}],
            "system": [{"type": "image", "source": {}}, {"type": "text", "text": "a", "x": 1, "cache_control": {}}],
            "messages": [{"role": "system", "output_config": {"effort": "low", "verbosity": "low"}},
                {"role": "user", "name": "u", "content": [
                    {"type": "document", "source": {}, "title": "t", "citations": {"enabled": true}, "y": 1},
                    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {}, "z": 1}]},
                    {"type": "hologram", "depth": 3}]},
                {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}]});
        let unread = unread_fields(&serde_json::from_value(request).unwrap());
        assert_eq!(
            unread.to_string(),
            "context_management, document.citations, document.y, image.z, messages.name, messages.output_config.verbosity, \
             output_config.format.description, redacted_thinking, system.image, text.x, thinking.budget_tokens, \
             tools.input_examples"
        );
    }

    #[test]
    fn management_that_takes_nothing_out_of_the_context_is_no_matter() {
        let unread = |management: Value| {
            let request = json!({"model": "m", "max_tokens": 1, "messages": [], "context_management": management});
            unread_fields(&serde_json::from_value(request).unwrap()).to_string()
        };
        for management in
            [json!(null), json!({"edits": []}), json!({"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]})]
        {
            assert_eq!(unread(management), "");
        }
        for management in [json!({}), json!({"edits": [{"type": "clear_thinking_20251015", "keep": {"value": 1}}]})] {
            assert_eq!(unread(management), "context_management");
        }
    }
}
