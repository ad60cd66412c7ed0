//! Finds the field of a content block that cannot be read. A block is read as a whole, so the parser does not know the field.

use serde_json::Value;

use crate::wire::ContentBlock;

/// Most fields of a block that is looked into: it is parsed once without each.
const MOST_FIELDS: usize = 64;

/// The path from the block to the field at fault, which continues `messages.0.content.1`; empty if a field is missing.
pub(super) fn path_inside(block: &Value) -> String {
    let fields = block.as_object().filter(|fields| fields.len() <= MOST_FIELDS);
    let (Some(fields), Some(reason)) = (fields, why_unreadable(block.clone())) else { return String::new() };
    let without = |name: &str| {
        let mut rest = fields.clone();
        rest.remove(name);
        Value::Object(rest)
    };
    // Without the field at fault, the block is readable, or something else is wrong with it. Where a field is missing, that is so
    // without any other required field too.
    let is_missing = reason.starts_with("missing field");
    let at_fault = |(name, _): &(&String, &Value)| {
        let rest = (*name != "type").then(|| why_unreadable(without(name)));
        rest.is_some_and(|rest| if is_missing { rest.is_none() } else { rest.as_ref() != Some(&reason) })
    };
    let Some((name, value)) = fields.iter().find(at_fault) else { return String::new() };
    let inner = value.as_array().into_iter().flatten().enumerate();
    let inner = inner
        .filter(|(_, part)| why_unreadable((*part).clone()).is_some())
        .map(|(at, part)| format!(".{at}{}", path_inside(part)));
    format!(".{name}{}", inner.take(1).collect::<String>())
}

fn why_unreadable(block: Value) -> Option<String> {
    serde_json::from_value::<ContentBlock>(block).err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_innermost_field_is_found() {
        for (block, path) in [
            (json!({"type": "text", "text": 5}), ".text"),
            (json!({"type": "text"}), ""),
            (json!({"type": "text", "text": "a", "more": 5}), ""),
            (json!({"type": "tool_use", "id": 1, "name": "a", "input": {}}), ".id"),
            (json!({"type": "tool_use", "id": "t", "input": {}}), ""),
            (json!({"type": "tool_use", "id": "t", "name": "a"}), ""),
            (json!({"type": "tool_result", "tool_use_id": "t", "content": {"a": 1}}), ".content"),
            (
                json!({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": null}]}),
                ".content.1.text",
            ),
            (json!({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text"}]}), ".content.0"),
            (json!({"type": "tool_result", "tool_use_id": "t", "content": ["a"]}), ".content.0"),
            (json!({"type": "thinking", "thinking": "a", "signature": 4}), ".signature"),
        ] {
            assert_eq!(path_inside(&block), path, "{block}");
        }
    }
}
