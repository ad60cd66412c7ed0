//! What Anthropic refuses in a request's tools.

use std::collections::HashSet;

use serde_json::Value;

use super::cache_control;
use super::expected::{Expected, may_be, must_be_object};
use crate::wire::Tool;

/// The longest name of a tool, in characters.
const LONGEST_NAME: usize = 128;

/// Checks the tools.
///
/// # Errors
/// One sentence that begins with the field's path.
pub(super) fn check(tools: &[Tool]) -> Result<(), String> {
    let mut names = HashSet::new();
    if !tools.iter().all(|tool| tool.name.is_empty() || names.insert(&tool.name)) {
        return Err("tools: Tool names must be unique.".into());
    }
    tools.iter().enumerate().try_for_each(|(at, tool)| check_one(tool).map_err(|reason| format!("tools.{at}{reason}")))
}

/// Checks a tool. The reason continues the tool's path.
pub(super) fn check_one(tool: &Tool) -> Result<(), String> {
    if tool.extra.get("function").is_some_and(Value::is_object) {
        let where_instead = "name, description and input_schema stand in the tool itself";
        return Err(format!(".function: Extra inputs are not permitted: {where_instead}"));
    }
    cache_control::check(&tool.extra).map_err(|reason| format!(".{reason}"))?;
    for switch in ["strict", "defer_loading"] {
        may_be(Expected::Boolean, tool.extra.get(switch), &format!(".{switch}"))?;
    }
    if tool.anthropic_type().is_some() {
        return Ok(());
    }
    if !is_name(&tool.name) {
        return Err(format!(".custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,{LONGEST_NAME}}}$'"));
    }
    check_input_schema(tool).map_err(|reason| format!(".custom.input_schema{reason}"))
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

fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::refused;

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
}
