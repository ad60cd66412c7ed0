//! Tools that a client holds back (`defer_loading`) until the model has searched for them.
//!
//! They are not in the prompt's list of tools: one more tool there would change the start of every later prompt, and nothing
//! of the conversation could be reused. A tool that was found stands in the result of the search instead.

use std::collections::HashSet;

use serde_json::Value;

use crate::wire::{Content, ContentBlock, MessagesRequest, Tool};

/// The tools that the prompt lists from the start.
pub fn listed(tools: &[Tool]) -> impl Iterator<Item = &Tool> {
    tools.iter().filter(|tool| !is_deferred(tool))
}

/// The tools that the model knows of and may call: those listed, and those found.
pub fn callable(request: &MessagesRequest) -> Vec<Tool> {
    let found = found(request);
    request.tools.iter().filter(|tool| !is_deferred(tool) || found.contains(tool.name.as_str())).cloned().collect()
}

fn is_deferred(tool: &Tool) -> bool {
    tool.extra.get("defer_loading") == Some(&Value::Bool(true))
}

/// The names in the `tool_reference` blocks of all tool results.
fn found(request: &MessagesRequest) -> HashSet<&str> {
    let results = request.messages.iter().flat_map(|message| blocks(&message.content)).filter_map(|block| match block {
        ContentBlock::ToolResult { content, .. } => content.as_ref(),
        _ => None,
    });
    let names = results.flat_map(blocks).filter_map(|block| match block {
        ContentBlock::ToolReference { tool_name, .. } => Some(tool_name.as_str()),
        _ => None,
    });
    names.collect()
}

fn blocks(content: &Content) -> &[ContentBlock] {
    match content {
        Content::Blocks(blocks) => blocks,
        Content::Text(_) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deferred_tool_can_be_called_once_it_was_found() {
        let names = |tools: Vec<Tool>| tools.into_iter().map(|tool| tool.name).collect::<Vec<_>>();
        let callable_after = |content: Value| {
            let request = json!({"model": "m", "max_tokens": 1,
                "tools": [{"name": "A"}, {"name": "B", "defer_loading": true}, {"name": "C", "defer_loading": false},
                          {"name": "D", "defer_loading": true}],
                "messages": [{"role": "user", "content": "B"}, {"role": "user", "content": content}]});
            names(callable(&serde_json::from_value(request).unwrap()))
        };
        let result = |content: Value| json!([{"type": "tool_result", "tool_use_id": "t", "content": content}]);
        assert_eq!(callable_after(json!("hi")), ["A", "C"]);
        assert_eq!(callable_after(result(json!("B"))), ["A", "C"]);
        assert_eq!(callable_after(result(json!([{"type": "tool_reference", "tool_name": "B"}]))), ["A", "B", "C"]);
    }
}
