//! Tools that come and go in the middle of a conversation.

use serde_json::Value;

use super::{ContentBlock, MessagesRequest, Tool};

/// A change of the tools that the model may call, from its place in the conversation on.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolChange<'a> {
    /// A tool of the request's list, by name: a search has found it, or the client has added it.
    Found(&'a str),
    /// A tool that is defined in the conversation.
    Defined(Tool),
    /// A tool that may not be called any more, by name.
    Removed(&'a str),
}

impl<'a> ToolChange<'a> {
    /// The change that this block makes, if it makes one. A search's result makes one for each tool it found: ask its blocks.
    pub fn of(block: &'a ContentBlock) -> Option<Self> {
        match block {
            ContentBlock::ToolReference { tool_name, .. } => Some(Self::Found(tool_name)),
            ContentBlock::ToolAddition { tool, .. } => match tool.get("definition") {
                Some(definition) => serde_json::from_value(definition.clone()).ok().map(Self::Defined),
                None => name(tool).map(Self::Found),
            },
            ContentBlock::ToolRemoval { tool, .. } => name(tool).map(Self::Removed),
            _ => None,
        }
    }
}

fn name(tool: &Value) -> Option<&str> {
    tool.get("name").and_then(Value::as_str)
}

/// The names of the tools that a search on Anthropic's servers has found: a `tool_search_tool_result` lists references to them.
fn found_at_anthropic(block: &ContentBlock) -> impl Iterator<Item = &str> {
    let result = match block {
        ContentBlock::Other(fields) if block.kind() == "tool_search_tool_result" => fields.get("content"),
        _ => None,
    };
    let references = result.and_then(|result| result.get("tool_references")).and_then(Value::as_array);
    references.into_iter().flatten().filter_map(|reference| reference.get("tool_name")?.as_str())
}

impl MessagesRequest {
    /// The names of the tools that searches on Anthropic's servers have found in this conversation.
    pub fn found_at_anthropic(&self) -> impl Iterator<Item = &str> {
        self.messages.iter().flat_map(|message| message.content.listed()).flat_map(found_at_anthropic)
    }

    /// The changes that the conversation makes to the tools, in order.
    pub fn tool_changes(&self) -> impl Iterator<Item = ToolChange<'_>> {
        let blocks = self.messages.iter().flat_map(|message| message.content.listed());
        blocks.flat_map(|block| {
            let found = match block {
                ContentBlock::ToolResult { content: Some(content), .. } => content.listed(),
                _ => &[],
            };
            let changes = ToolChange::of(block).into_iter().chain(found.iter().filter_map(ToolChange::of));
            changes.chain(found_at_anthropic(block).map(ToolChange::Found))
        })
    }

    /// The tools that are offered at the end of the conversation, where `tools` are those that were offered at its start.
    pub fn after_tool_changes(&self, mut tools: Vec<Tool>) -> Vec<Tool> {
        for change in self.tool_changes() {
            match change {
                ToolChange::Found(name) if tools.iter().any(|tool| tool.name == name) => {}
                ToolChange::Found(name) => tools.extend(self.tools.iter().find(|tool| tool.name == name).cloned()),
                ToolChange::Removed(name) => tools.retain(|tool| tool.name != name),
                ToolChange::Defined(defined) => {
                    tools.retain(|tool| tool.name != defined.name);
                    tools.push(defined);
                }
            }
        }
        tools
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_come_in_the_order_of_the_conversation() {
        let by_name = |name: &str| json!({"type": "tool_reference", "name": name});
        let defined = json!({"type": "tool_definition", "definition": {"name": "C", "input_schema": {"type": "object"}}});
        let request: MessagesRequest = serde_json::from_value(json!({"model": "m", "max_tokens": 1, "messages": [
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t",
                "content": [{"type": "tool_reference", "tool_name": "A"}]}]},
            {"role": "system", "content": [{"type": "tool_removal", "tool": by_name("A")},
                {"type": "tool_addition", "tool": by_name("B")}, {"type": "tool_addition", "tool": defined}]},
            {"role": "assistant", "content": [{"type": "tool_search_tool_result", "tool_use_id": "s", "content": {
                "type": "tool_search_tool_search_result", "tool_references": [{"type": "tool_reference", "tool_name": "D"}]}}]}]}))
        .unwrap();
        let changes: Vec<ToolChange> = request.tool_changes().collect();
        let [
            ToolChange::Found("A"),
            ToolChange::Removed("A"),
            ToolChange::Found("B"),
            ToolChange::Defined(tool),
            ToolChange::Found("D"),
        ] = &*changes
        else {
            panic!("{changes:?}")
        };
        assert_eq!(tool.name, "C");
    }
}
