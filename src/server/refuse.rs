//! What Anthropic refuses in a Messages request although it parses, in Anthropic's words.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::wire::{Content, ContentBlock, InputMessage, OutputFormat, Role, Tool};

/// The longest name of a tool, in characters.
const LONGEST_NAME: usize = 128;

/// Checks the conversation, the tools and, among the further fields `extra`, the output format.
///
/// # Errors
/// One sentence that begins with the field's path.
pub(crate) fn check(messages: &[InputMessage], tools: &[Tool], extra: &Map<String, Value>) -> Result<(), String> {
    if messages.is_empty() {
        return Err("messages: at least one message is required".into());
    }
    for (at, message) in messages.iter().enumerate() {
        for (index, block) in message.content.listed().iter().enumerate() {
            if let ContentBlock::ToolUse { input, .. } = block
                && !input.is_object()
            {
                let given = kind(input);
                return Err(format!("messages.{at}.content.{index}.tool_use.input: Input should be an object, not {given}"));
            }
        }
    }
    let mut names = HashSet::new();
    if !tools.iter().all(|tool| tool.name.is_empty() || names.insert(&tool.name)) {
        return Err("tools: Tool names must be unique.".into());
    }
    for (at, tool) in tools.iter().enumerate().filter(|(_, tool)| tool.anthropic_type().is_none()) {
        if !is_name(&tool.name) {
            return Err(format!("tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,{LONGEST_NAME}}}$'"));
        }
    }
    check_settings(extra)?;
    OutputFormat::of(extra).map(drop)
}

/// Fields that are objects, if they are there.
const OBJECTS: [&str; 3] = ["thinking", "output_config", "metadata"];

/// Checks the types of settings that would otherwise be taken for left out.
fn check_settings(extra: &Map<String, Value>) -> Result<(), String> {
    let given = |name: &str| extra.get(name).filter(|value| !value.is_null());
    for name in OBJECTS {
        if let Some(other) = given(name).filter(|value| !value.is_object()) {
            return Err(format!("{name}: Input should be an object, not {}", kind(other)));
        }
    }
    match given("thinking").map(|thinking| &thinking["type"]) {
        None => Ok(()),
        Some(Value::String(name)) if ["enabled", "disabled", "adaptive"].contains(&name.as_str()) => Ok(()),
        Some(Value::Null) => Err("thinking.type: Field required".into()),
        Some(other) => Err(format!("thinking.type: {other} is none of \"enabled\", \"disabled\" and \"adaptive\"")),
    }
}

/// Checks the end of a Messages conversation, where the assistant's text is the beginning of the answer.
///
/// # Errors
/// As for [`check`].
pub(crate) fn check_end(messages: &[InputMessage]) -> Result<(), String> {
    let begun = messages.last().filter(|last| last.role == Role::Assistant).and_then(|last| last_text(&last.content));
    match begun {
        Some(text) if text.ends_with(char::is_whitespace) => {
            Err("messages: final assistant content cannot end with trailing whitespace".into())
        }
        _ => Ok(()),
    }
}

/// The text that the content ends with, if it ends with text.
fn last_text(content: &Content) -> Option<&str> {
    match content {
        Content::Text(text) => Some(text),
        Content::Blocks(blocks) => match blocks.last() {
            Some(ContentBlock::Text { text, .. }) => Some(text),
            _ => None,
        },
    }
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

fn kind(value: &Value) -> &'static str {
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
    use serde_json::json;

    use super::*;

    fn refused(messages: Value, tools: Value) -> Option<String> {
        let (messages, tools): (Vec<_>, Vec<_>) = serde_json::from_value(json!([messages, tools])).unwrap();
        check(&messages, &tools, &Map::new()).err()
    }

    #[test]
    fn an_unusable_output_format_is_refused() {
        let messages: Vec<_> = serde_json::from_value(json!([{"role": "user", "content": "Hi"}])).unwrap();
        let extra = json!({"output_config": {"format": {"type": "yaml"}}});
        let reason = "output_config.format.type: \"yaml\" is none of \"json_schema\" and \"text\"";
        assert_eq!(check(&messages, &[], extra.as_object().unwrap()), Err(reason.into()));
    }

    #[test]
    fn settings_of_another_type_are_refused() {
        let messages: Vec<_> = serde_json::from_value(json!([{"role": "user", "content": "Hi"}])).unwrap();
        let refused = |extra: Value| check(&messages, &[], extra.as_object().unwrap()).unwrap_err();
        for (extra, reason) in [
            (json!({"output_config": "x"}), "output_config: Input should be an object, not a string"),
            (json!({"thinking": true}), "thinking: Input should be an object, not a boolean"),
            (json!({"metadata": []}), "metadata: Input should be an object, not a list"),
            (json!({"thinking": {}}), "thinking.type: Field required"),
            (json!({"thinking": {"type": "on"}}), "thinking.type: \"on\" is none of \"enabled\", \"disabled\" and \"adaptive\""),
        ] {
            assert_eq!(refused(extra), reason);
        }
        let fine = json!({"thinking": {"type": "adaptive"}, "output_config": null, "metadata": {"user_id": "u"}});
        assert_eq!(check(&messages, &[], fine.as_object().unwrap()), Ok(()));
    }

    #[test]
    fn each_reason_begins_with_the_field() {
        let user = json!({"role": "user", "content": "Hi"});
        assert_eq!(refused(json!([user]), json!([{"name": "mcp__files-1__Read"}])), None);
        assert_eq!(refused(json!([]), json!([])).as_deref(), Some("messages: at least one message is required"));
        let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "X", "input": "{}"}]});
        assert_eq!(
            refused(json!([user, call, user]), json!([])).as_deref(),
            Some("messages.1.content.0.tool_use.input: Input should be an object, not a string")
        );
        let begun = json!({"role": "assistant", "content": "So: "});
        let end = |messages: Value| check_end(&serde_json::from_value::<Vec<_>>(messages).unwrap());
        let reason = "messages: final assistant content cannot end with trailing whitespace";
        assert_eq!(end(json!([user, begun])), Err(reason.into()));
        assert_eq!(end(json!([begun, user])), Ok(()));
        let twice = refused(json!([user]), json!([{"name": "a"}, {"name": "b"}, {"name": "a"}]));
        assert_eq!(twice.as_deref(), Some("tools: Tool names must be unique."));
        for name in ["a b", "a.b", "é", &"x".repeat(129)] {
            assert_eq!(
                refused(json!([user]), json!([{"name": "ok"}, {"name": name}])).as_deref(),
                Some("tools.1.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'")
            );
        }
        assert_eq!(refused(json!([user]), json!([{"type": "mcp_toolset", "mcp_server_name": "a b"}])), None);
    }
}
