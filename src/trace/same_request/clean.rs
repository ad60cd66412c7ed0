//! Leaving out of a request what does not count. Pure.

use serde_json::{Map, Value, json};

use crate::wire::without_billing_header;

/// The fields of a request's body that do not count.
const LEFT_OUT: [&str; 4] = ["metadata", "stream", "max_tokens", "cache_control"];

/// The fields with a call's id: its own, and by which results name it in Messages, chat completions and Responses.
const IDS: [&str; 4] = ["id", "tool_use_id", "tool_call_id", "call_id"];

/// The fields in which a call has its arguments.
const ARGUMENTS: [&str; 2] = ["input", "arguments"];

/// Whether a field of a request's body says something that counts.
pub(super) fn counts(name: &str, value: &Value) -> bool {
    !LEFT_OUT.contains(&name) && !value.is_null() && !value.as_array().is_some_and(Vec::is_empty)
}

/// Brings a body's `system` into the one form of a list of blocks.
pub(super) fn system_as_blocks(fields: &mut Map<String, Value>) {
    if let Some(system) = fields.get_mut("system") {
        as_blocks(system);
    }
}

/// Cleans an item of the list with this name; whether it says anything. `on_id` gets the id of each call and of each result, in
/// order, to put something in its place.
pub(super) fn clean_item(list: &str, item: &mut Value, on_id: &mut impl FnMut(&mut Value)) -> bool {
    match list {
        "system" if is_only_header(item, true) => return false,
        "messages" | "input" => {
            let is_system = item["role"] == "system";
            if let Some(content) = item.get_mut("content") {
                as_blocks(content);
                if let Value::Array(blocks) = content {
                    blocks.retain_mut(|block| !is_only_header(block, is_system));
                }
            }
        }
        "system" => {}
        // In a tool, all below is what the tool says.
        _ => {
            without_idle_fields(item);
            return true;
        }
    }
    clean(item, on_id);
    true
}

/// A text becomes the one block that it stands for.
fn as_blocks(content: &mut Value) {
    if content.is_string() {
        *content = json!([{"type": "text", "text": content.take()}]);
    }
}

/// Takes the billing header out of a block of a system prompt; whether nothing else was in it.
fn is_only_header(block: &mut Value, is_system: bool) -> bool {
    let Some(Value::String(text)) = block.get_mut("text").filter(|_| is_system) else { return false };
    let Some(rest) = without_billing_header(text).map(|rest| rest.into_owned()) else { return true };
    *text = rest;
    false
}

/// Cleans a message or a block with all that is in it, but for the arguments of calls.
fn clean(value: &mut Value, on_id: &mut impl FnMut(&mut Value)) {
    without_idle_fields(value);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| clean(item, on_id)),
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
            // Of chat completions, whose calls are functions, of Messages and of Responses.
            let is_call = fields.contains_key("function") || kind.ends_with("tool_use") || kind.ends_with("_call");
            if kind.ends_with("tool_result")
                && let Some(content) = fields.get_mut("content")
            {
                as_blocks(content);
            }
            let ids = if is_call { &IDS[..] } else { &IDS[1..] };
            // First, and in this order, as that of the fields does not count.
            for name in ids {
                if let Some(id) = fields.get_mut(*name) {
                    on_id(id);
                }
            }
            for (name, value) in fields {
                if !ids.contains(&name.as_str()) && !ARGUMENTS.contains(&name.as_str()) {
                    clean(value, on_id);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn without_idle_fields(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|name, value| match name.as_str() {
            "cache_control" => false,
            "is_error" => !value.is_null() && *value != false,
            _ => !value.is_null(),
        });
    }
}
