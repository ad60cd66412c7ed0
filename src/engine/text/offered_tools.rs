//! Decides which tools the prompt lists and which the model may call.
//!
//! The two differ if tools change during a conversation: a client may hold tools back (`defer_loading`) until the
//! model has searched for them, and may add or remove tools. The list at the start of the prompt never changes,
//! because that would make the whole conversation's KV cache useless. Instead, the model is told of a change at
//! the point where it happened.

use serde_json::Value;

use crate::wire::{MessagesRequest, Tool};

/// The tools that the prompt lists from the start.
pub(super) fn listed(tools: &[Tool]) -> impl Iterator<Item = &Tool> {
    tools.iter().filter(|tool| !is_deferred(tool))
}

/// The tools that the model may call at the end of the conversation.
pub(crate) fn callable(request: &MessagesRequest) -> Vec<Tool> {
    request.after_tool_changes(listed(&request.tools).cloned().collect())
}

fn is_deferred(tool: &Tool) -> bool {
    tool.extra.get("defer_loading") == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn callable_after(role: &str, content: Value) -> Vec<String> {
        let request = json!({"model": "m", "max_tokens": 1,
            "tools": [{"name": "A"}, {"name": "B", "defer_loading": true}, {"name": "C", "defer_loading": false},
                      {"name": "D", "defer_loading": true}],
            "messages": [{"role": "user", "content": "B"}, {"role": role, "content": content}]});
        callable(&serde_json::from_value(request).unwrap()).into_iter().map(|tool| tool.name).collect()
    }

    #[test]
    fn a_deferred_tool_can_be_called_once_it_was_found() {
        let result = |content: Value| json!([{"type": "tool_result", "tool_use_id": "t", "content": content}]);
        assert_eq!(callable_after("user", json!("hi")), ["A", "C"]);
        assert_eq!(callable_after("user", result(json!("B"))), ["A", "C"]);
        assert_eq!(callable_after("user", result(json!([{"type": "tool_reference", "tool_name": "B"}]))), ["A", "C", "B"]);
    }

    #[test]
    fn tools_are_added_and_removed_in_mid_conversation() {
        let by_name = |name: &str| json!({"type": "tool_reference", "name": name});
        let change = |kind: &str, tool: Value| json!({"type": format!("tool_{kind}"), "tool": tool});
        let defined = |name: &str| json!({"type": "tool_definition", "definition": {"name": name, "input_schema": {}}});
        let after = |changes: &[Value]| callable_after("system", json!(changes));
        assert_eq!(after(&[change("removal", by_name("A"))]), ["C"]);
        assert_eq!(after(&[change("addition", by_name("B")), change("removal", by_name("C"))]), ["A", "B"]);
        assert_eq!(after(&[change("removal", by_name("A")), change("addition", by_name("A"))]), ["C", "A"]);
        assert_eq!(after(&[change("addition", defined("E"))]), ["A", "C", "E"]);
        assert_eq!(after(&[change("addition", by_name("unknown"))]), ["A", "C"]);
    }
}
