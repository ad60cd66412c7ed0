//! What Anthropic refuses in a Messages request although it parses, in Anthropic's words.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::wire::{Content, ContentBlock, InputMessage, MessagesRequest, OutputFormat, Role, System, Tool};

/// The longest name of a tool, in characters.
const LONGEST_NAME: usize = 128;

/// Most stop sequences. Each is looked for at every token.
const MOST_STOP_SEQUENCES: usize = 8_191;

/// Most cache breakpoints, as at Anthropic.
const MOST_BREAKPOINTS: usize = 4;

/// Checks a request's conversation, tools and settings.
///
/// # Errors
/// One sentence that begins with the field's path.
pub(crate) fn check(request: &MessagesRequest) -> Result<(), String> {
    if request.messages.is_empty() {
        return Err("messages: at least one message is required".into());
    }
    for (at, message) in request.messages.iter().enumerate() {
        for (index, block) in message.content.listed().iter().enumerate() {
            check_block(block, message.role).map_err(|reason| format!("messages.{at}.content.{index}{reason}"))?;
        }
    }
    check_tools(&request.tools)?;
    check_stop_sequences(&request.stop_sequences)?;
    check_breakpoints(request)?;
    check_settings(&request.extra)?;
    OutputFormat::of(&request.extra).map(drop)
}

/// Checks a block of a message with this role. The reason continues the block's path.
fn check_block(block: &ContentBlock, role: Role) -> Result<(), String> {
    match (block, role) {
        (ContentBlock::ToolUse { .. }, Role::User | Role::System) => {
            Err(": `tool_use` blocks can only be in `assistant` messages".into())
        }
        (ContentBlock::Thinking { .. } | ContentBlock::RedactedThinking { .. }, Role::User | Role::System) => {
            Err(format!(": `{}` blocks can only be in `assistant` messages", block.kind()))
        }
        (ContentBlock::ToolResult { .. }, Role::Assistant | Role::System) => {
            Err(": `tool_result` blocks can only be in `user` messages".into())
        }
        (ContentBlock::ToolUse { input, .. }, _) => must_be_object(input, ".tool_use.input"),
        (ContentBlock::Image { source, .. } | ContentBlock::Document { source, .. }, _) => {
            let field = format!(".{}.source", block.kind());
            must_be_object(source, &field)?;
            must_be_text(source.get("type"), &format!("{field}.type"))
        }
        (ContentBlock::ToolAddition { tool, .. }, _) if tool.get("definition").is_some_and(Value::is_object) => Ok(()),
        (ContentBlock::ToolAddition { tool, .. } | ContentBlock::ToolRemoval { tool, .. }, _) => {
            must_be_object(tool, ".tool")?;
            must_be_text(tool.get("name"), ".tool.name")
        }
        (ContentBlock::ToolResult { content: Some(content), .. }, _) => {
            let inner = content.listed().iter().enumerate();
            let mut inner =
                inner.filter(|(_, inner)| matches!(inner, ContentBlock::Image { .. } | ContentBlock::Document { .. }));
            inner.try_for_each(|(at, inner)| {
                check_block(inner, role).map_err(|reason| format!(".tool_result.content.{at}{reason}"))
            })
        }
        _ => Ok(()),
    }
}

fn must_be_object(value: &Value, field: &str) -> Result<(), String> {
    if value.is_object() { Ok(()) } else { Err(format!("{field}: Input should be an object, not {}", kind(value))) }
}

fn must_be_text(value: Option<&Value>, field: &str) -> Result<(), String> {
    match value {
        Some(Value::String(_)) => Ok(()),
        None => Err(format!("{field}: Field required")),
        Some(other) => Err(format!("{field}: Input should be a string, not {}", kind(other))),
    }
}

fn check_tools(tools: &[Tool]) -> Result<(), String> {
    let mut names = HashSet::new();
    if !tools.iter().all(|tool| tool.name.is_empty() || names.insert(&tool.name)) {
        return Err("tools: Tool names must be unique.".into());
    }
    for (at, tool) in tools.iter().enumerate() {
        if tool.extra.get("function").is_some_and(Value::is_object) {
            return Err(format!(
                "tools.{at}.function: Extra inputs are not permitted: name, description and input_schema stand in the tool itself"
            ));
        }
        for switch in ["strict", "defer_loading"] {
            if let Some(other) = tool.extra.get(switch).filter(|value| !value.is_boolean() && !value.is_null()) {
                return Err(format!("tools.{at}.{switch}: Input should be a boolean, not {}", kind(other)));
            }
        }
        if tool.anthropic_type().is_some() {
            continue;
        }
        if !is_name(&tool.name) {
            return Err(format!("tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,{LONGEST_NAME}}}$'"));
        }
        check_input_schema(tool).map_err(|reason| format!("tools.{at}.custom.input_schema{reason}"))?;
    }
    Ok(())
}

/// Checks the schema of a tool's arguments. The reason continues the field's path.
fn check_input_schema(tool: &Tool) -> Result<(), String> {
    must_be_object(&tool.input_schema, "")?;
    let is_object = |kind: &Value| kind == "object" || kind.as_array().is_some_and(|kinds| kinds.contains(&"object".into()));
    match tool.input_schema.get("type") {
        Some(kind) if !is_object(kind) => Err(".type: Input should be 'object'".into()),
        None if tool.extra.contains_key("parameters") => Err(": Field required, in the place of parameters".into()),
        _ => Ok(()),
    }
}

fn check_stop_sequences(stops: &[String]) -> Result<(), String> {
    match stops.len() {
        0..=MOST_STOP_SEQUENCES => Ok(()),
        many => Err(format!("stop_sequences: at most {MOST_STOP_SEQUENCES} are possible, not {many}")),
    }
}

fn check_breakpoints(request: &MessagesRequest) -> Result<(), String> {
    let system = match &request.system {
        Some(System::Blocks(blocks)) => &blocks[..],
        _ => &[],
    };
    let blocks = request.messages.iter().flat_map(|message| message.content.listed()).chain(system);
    let inside = blocks.flat_map(|block| match block {
        ContentBlock::ToolResult { content: Some(content), .. } => content.listed().iter().chain([block]),
        _ => [].iter().chain([block]),
    });
    let extras = inside.filter_map(ContentBlock::extra).chain(request.tools.iter().map(|tool| &tool.extra));
    match extras.filter(|extra| extra.get("cache_control").is_some_and(|mark| !mark.is_null())).count() {
        0..=MOST_BREAKPOINTS => Ok(()),
        many => Err(format!("A maximum of {MOST_BREAKPOINTS} blocks with cache_control may be provided. Found {many}.")),
    }
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

    fn request(extra: Value) -> MessagesRequest {
        let mut body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        serde_json::from_value(body).unwrap()
    }

    fn refused(messages: Value, tools: Value) -> Option<String> {
        let (messages, tools): (Vec<_>, Vec<_>) = serde_json::from_value(json!([messages, tools])).unwrap();
        let mut request = request(json!({}));
        (request.messages, request.tools) = (messages, tools);
        check(&request).err()
    }

    #[test]
    fn an_unusable_output_format_is_refused() {
        let reason = "output_config.format.type: \"yaml\" is none of \"json_schema\" and \"text\"";
        assert_eq!(check(&request(json!({"output_config": {"format": {"type": "yaml"}}}))), Err(reason.into()));
    }

    #[test]
    fn settings_of_another_type_are_refused() {
        let refused = |extra: Value| check(&request(extra)).unwrap_err();
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
        assert_eq!(check(&request(fine)), Ok(()));
    }

    #[test]
    fn blocks_are_where_they_may_be_and_hold_what_they_must() {
        let in_message = |role: &str, block: Value| {
            let messages = json!([{"role": "user", "content": "Hi"}, {"role": role, "content": [block]}]);
            refused(messages, json!([])).unwrap_or_default()
        };
        let call = json!({"type": "tool_use", "id": "t", "name": "X", "input": {}});
        let result = |content: Value| json!({"type": "tool_result", "tool_use_id": "t", "content": content});
        for (role, block, reason) in [
            ("assistant", call.clone(), ""),
            ("user", call, "messages.1.content.0: `tool_use` blocks can only be in `assistant` messages"),
            ("assistant", result(json!("")), "messages.1.content.0: `tool_result` blocks can only be in `user` messages"),
            (
                "user",
                json!({"type": "thinking", "thinking": "", "signature": ""}),
                "messages.1.content.0: `thinking` blocks can only be in `assistant` messages",
            ),
            (
                "user",
                json!({"type": "image", "source": "a.png"}),
                "messages.1.content.0.image.source: Input should be an object, not a string",
            ),
            (
                "user",
                result(json!([{"type": "text", "text": ""}, {"type": "document", "source": null}])),
                "messages.1.content.0.tool_result.content.1.document.source: Input should be an object, not null",
            ),
            ("user", json!({"type": "image", "source": {}}), "messages.1.content.0.image.source.type: Field required"),
            (
                "system",
                json!({"type": "tool_addition", "tool": {"type": "tool_reference", "tool_name": "Read"}}),
                "messages.1.content.0.tool.name: Field required",
            ),
            (
                "system",
                json!({"type": "tool_removal", "tool": {"name": 7}}),
                "messages.1.content.0.tool.name: Input should be a string, not a number",
            ),
            ("system", json!({"type": "tool_addition", "tool": {"definition": {"name": "a"}}}), ""),
        ] {
            assert_eq!(in_message(role, block), reason);
        }
    }

    #[test]
    fn tools_of_another_protocol_and_schemas_that_are_none_are_refused() {
        let user = json!({"role": "user", "content": "Hi"});
        for (tool, reason) in [
            (
                json!({"type": "function", "function": {"name": "a"}}),
                "tools.0.function: Extra inputs are not permitted: name, description and input_schema stand in the tool itself",
            ),
            (json!({"name": "a", "strict": "x"}), "tools.0.strict: Input should be a boolean, not a string"),
            (json!({"name": "a", "input_schema": "{}"}), "tools.0.custom.input_schema: Input should be an object, not a string"),
            (
                json!({"name": "a", "input_schema": {"type": "array"}}),
                "tools.0.custom.input_schema.type: Input should be 'object'",
            ),
            (
                json!({"name": "a", "parameters": {"type": "object"}}),
                "tools.0.custom.input_schema: Field required, in the place of parameters",
            ),
        ] {
            assert_eq!(refused(json!([user]), json!([tool])).as_deref(), Some(reason));
        }
    }

    #[test]
    fn there_are_limits_for_stop_sequences_and_cache_breakpoints() {
        let stops = |count: usize| check(&request(json!({"stop_sequences": vec!["x"; count]})));
        assert_eq!(stops(8_191), Ok(()));
        assert_eq!(stops(8_192), Err("stop_sequences: at most 8191 are possible, not 8192".into()));
        let marked = |text: &str| json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral"}});
        let with = |blocks: usize| {
            let content = json!([{"type": "tool_result", "tool_use_id": "t", "content": [marked("a")]}, marked("b")]);
            let system: Vec<Value> = (0..blocks).map(|_| marked("s")).collect();
            check(&request(json!({"system": system, "messages": [{"role": "user", "content": content}],
                "tools": [{"name": "a", "cache_control": {"type": "ephemeral"}}, {"name": "b", "cache_control": null}]})))
        };
        assert_eq!(with(1), Ok(()));
        assert_eq!(with(2), Err("A maximum of 4 blocks with cache_control may be provided. Found 5.".into()));
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
