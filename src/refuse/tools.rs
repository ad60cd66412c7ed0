//! What Anthropic refuses in a request's tools.

use std::collections::HashSet;

use serde_json::Value;

use super::cache_control;
use super::expected::{Expected, may_be, must_be_object};
use crate::convert::is_run_by_client;
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
    may_be(Expected::Text, tool.extra.get("type"), ".type")?;
    let kind = tool.anthropic_type().unwrap_or("custom");
    cache_control::check(&tool.extra).map_err(|reason| format!(".{kind}.{reason}"))?;
    for switch in ["strict", "defer_loading"] {
        may_be(Expected::Boolean, tool.extra.get(switch), &format!(".{kind}.{switch}"))?;
    }
    match tool.anthropic_type() {
        Some(kind) if tool.name.is_empty() && is_run_by_client(tool) => Err(format!(".{kind}.name: Field required")),
        Some(_) => Ok(()),
        None => {
            check_name(&tool.name).map_err(|reason| format!(".custom.name: {reason}"))?;
            check_input_schema(tool).map_err(|reason| format!(".custom.input_schema{reason}"))
        }
    }
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

fn check_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("String should have at least 1 character".into()),
        _ if name.chars().count() > LONGEST_NAME => Err(format!("String should have at most {LONGEST_NAME} characters")),
        _ if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') => Ok(()),
        _ => Err(format!("String should match pattern '^[a-zA-Z0-9_-]{{1,{LONGEST_NAME}}}$'")),
    }
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
            (json!({"name": ""}), "tools.0.custom.name: String should have at least 1 character"),
            (json!({"type": "bash_20250124"}), "tools.0.bash_20250124.name: Field required"),
            (
                json!({"name": "a", "cache_control": {"type": "ephemeral", "ttl": "2h"}}),
                "tools.0.custom.cache_control.ephemeral.ttl: Input should be '5m' or '1h'",
            ),
            (json!({"name": "a", "type": 5}), "tools.0.type: Input should be a valid string"),
            (json!({"name": "a", "strict": "x"}), "tools.0.custom.strict: Input should be a valid boolean"),
            (json!({"name": "a", "input_schema": "{}"}), "tools.0.custom.input_schema: Input should be a valid dictionary"),
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
