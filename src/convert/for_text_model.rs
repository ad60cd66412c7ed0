//! Making a request fit for a model that is given text, tool calls and their results, and nothing else.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::Omitted;
use super::anthropic_tools::{AnthropicTool, runnable};
use super::compaction::compacted;
use super::stand_in::{is_readable, stand_in};
use crate::wire::{Content, ContentBlock, MessagesRequest, Role, Tool, ToolChoice};

/// Puts text in place of all blocks that such a model cannot be given, and writes out the tools that Anthropic defines. Tools
/// that Anthropic's servers run are taken out. Returns the types of what was replaced or taken out.
pub fn for_text_model(request: &mut MessagesRequest) -> Omitted {
    let mut omitted = Omitted::default();
    if let Cow::Owned(shorter) = compacted(request) {
        *request = shorter;
    }
    offer_found_tools(request);
    request.tools = runnable(std::mem::take(&mut request.tools), &mut omitted);
    for message in &mut request.messages {
        let show = match message.role {
            // The model's own text blocks are joined without a gap.
            Role::Assistant => |text: String| format!("\n{text}\n"),
            Role::User | Role::System => |text| text,
        };
        replace(&mut message.content, show, &mut omitted);
    }
    omitted
}

/// Offers the tools that a search on Anthropic's servers has found: its result becomes text, which names them no more.
fn offer_found_tools(request: &mut MessagesRequest) {
    let found: HashSet<String> = request.found_at_anthropic().map(str::to_owned).collect();
    let found = request.tools.iter_mut().filter(|tool| found.contains(&tool.name));
    found.for_each(|tool| drop(tool.extra.remove("defer_loading")));
}

/// The reason to refuse a request that forces a call of a tool which only Anthropic's servers can run.
pub fn forced_server_tool(request: &MessagesRequest) -> Option<String> {
    let is_server = |tool: &Tool| AnthropicTool::of(tool) == Some(AnthropicTool::Server);
    let name = match &request.tool_choice {
        Some(ToolChoice::Tool { name, .. }) => name,
        Some(ToolChoice::Any { .. }) => {
            let tools = request.after_tool_changes(request.tools.clone());
            let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
            let reason = format!("tool_choice: {} cannot be called by this model: Anthropic's servers run it", names.join(", "));
            return (!tools.is_empty() && tools.iter().all(is_server)).then_some(reason);
        }
        _ => return None,
    };
    let forced = request.after_tool_changes(request.tools.clone()).into_iter().find(|tool| tool.name == *name)?;
    let kind = forced.anthropic_type()?;
    let reason = format!("tool_choice.name: {name} ({kind}) is run by Anthropic's servers, so this model cannot call it");
    is_server(&forced).then_some(reason)
}

/// Replaces blocks in content and in the tool results in it. A block without a stand-in goes.
fn replace(content: &mut Content, show: fn(String) -> String, omitted: &mut Omitted) {
    let Content::Blocks(blocks) = content else { return };
    blocks.retain_mut(|block| {
        match block {
            ContentBlock::ToolResult { content: Some(content), .. } => replace(content, |text| text, omitted),
            ContentBlock::ToolAddition { tool, .. } => {
                if let Some(definition) = tool.get_mut("definition") {
                    return write_out(definition, omitted);
                }
            }
            ContentBlock::Image { .. } | ContentBlock::Document { .. } | ContentBlock::Other(_) => {
                let text = stand_in(block);
                if !is_readable(block) {
                    omitted.add(block.kind());
                }
                if text.is_empty() {
                    return false;
                }
                let breakpoint = block.extra().and_then(|extra| extra.get_key_value("cache_control"));
                let breakpoint = breakpoint.map(|(name, value)| (name.clone(), value.clone()));
                *block = ContentBlock::Text { text: show(text), logprobs: Vec::new(), extra: Map::from_iter(breakpoint) };
            }
            _ => {}
        }
        true
    });
}

/// Writes out a tool that is defined in the conversation. Returns false for one that Anthropic's servers run.
fn write_out(definition: &mut Value, omitted: &mut Omitted) -> bool {
    let Ok(tool) = serde_json::from_value(definition.clone()) else { return true };
    let runnable = runnable(vec![tool], omitted);
    if let Some(tool) = runnable.first() {
        *definition = json!(tool);
    }
    !runnable.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(body: Value) -> (Value, String) {
        let mut request = json!({"model": "m", "max_tokens": 9, "messages": []});
        request.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let mut request = serde_json::from_value(request).unwrap();
        let omitted = for_text_model(&mut request);
        (serde_json::to_value(request).unwrap(), omitted.to_string())
    }

    #[test]
    fn blocks_become_text_where_they_stand() {
        let image = json!({"type": "image", "source": {}, "cache_control": {"type": "ephemeral"}});
        let (request, omitted) = rewritten(json!({"messages": [
            {"role": "user", "content": [{"type": "text", "text": "See:"}, image]},
            {"role": "assistant", "content": [{"type": "text", "text": "Wait."}, {"type": "fallback"}, {"type": "hologram"}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [image]}]}]}));
        let shown = "[an image, which this model cannot see]";
        let shown = json!({"type": "text", "text": shown, "cache_control": {"type": "ephemeral"}});
        assert_eq!(request["messages"][0]["content"], json!([{"type": "text", "text": "See:"}, shown]));
        let hologram = json!({"type": "text", "text": "\n[hologram, which this model cannot read]\n"});
        assert_eq!(request["messages"][1]["content"], json!([{"type": "text", "text": "Wait."}, hologram]));
        assert_eq!(request["messages"][2]["content"][0]["content"], json!([shown]));
        assert_eq!(omitted, "fallback, hologram, image");
    }

    #[test]
    fn tools_that_a_servers_search_has_found_are_offered() {
        let found =
            json!({"type": "tool_search_tool_search_result", "tool_references": [{"type": "tool_reference", "tool_name": "A"}]});
        let block = json!({"type": "tool_search_tool_result", "tool_use_id": "s", "content": found});
        let (request, _) = rewritten(json!({"messages": [{"role": "assistant", "content": [block]}],
            "tools": [{"name": "A", "defer_loading": true}, {"name": "B", "defer_loading": true}]}));
        assert_eq!(request["tools"][0].get("defer_loading"), None);
        assert_eq!(request["tools"][1]["defer_loading"], true);
        assert_eq!(request["messages"][0]["content"][0]["text"], "\n[tool_search gave:]\nA\n");
    }

    #[test]
    fn a_forced_call_among_servers_tools_alone_is_refused() {
        let refused = |tools: Value| {
            let request = json!({"model": "m", "max_tokens": 1, "messages": [], "tool_choice": {"type": "any"}, "tools": tools});
            forced_server_tool(&serde_json::from_value(request).unwrap())
        };
        let search = json!({"type": "web_search_20250305", "name": "web_search"});
        let reason = "tool_choice: web_search cannot be called by this model: Anthropic's servers run it";
        assert_eq!(refused(json!([search])).as_deref(), Some(reason));
        assert_eq!(refused(json!([search, {"name": "A"}])), None);
        assert_eq!(refused(json!([])), None);
    }

    #[test]
    fn servers_tools_go_and_clients_tools_are_written_out() {
        let body = json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}, {"type": "bash_20250124", "name": "bash"},
            {"name": "Read", "input_schema": {"type": "object"}}]});
        let (request, omitted) = rewritten(body);
        let names: Vec<&str> = request["tools"].as_array().unwrap().iter().filter_map(|tool| tool["name"].as_str()).collect();
        assert_eq!(names, ["bash", "Read"]);
        assert_eq!(request["tools"][0]["input_schema"]["properties"]["restart"]["type"], "boolean");
        assert_eq!(omitted, "tools.web_search_20250305");
    }

    #[test]
    fn tools_defined_in_the_conversation_are_written_out_too() {
        let addition = |tool: Value| json!({"type": "tool_addition", "tool": {"type": "tool_definition", "definition": tool}});
        let (request, omitted) = rewritten(json!({"messages": [{"role": "system", "content": [
            addition(json!({"type": "bash_20250124", "name": "bash"})),
            addition(json!({"type": "web_search_20250305", "name": "web_search"})),
            addition(json!({"name": "Read", "input_schema": {"type": "object"}}))]}]}));
        let defined: Vec<&Value> =
            request["messages"][0]["content"].as_array().unwrap().iter().map(|block| &block["tool"]["definition"]).collect();
        let [bash, read] = defined[..] else { panic!("{defined:?}") };
        assert_eq!((&bash["input_schema"]["properties"]["restart"]["type"], &read["name"]), (&json!("boolean"), &json!("Read")));
        assert_eq!(omitted, "tools.web_search_20250305");
    }

    #[test]
    fn a_forced_server_tool_is_found() {
        let forced = |name: &str| {
            let request = serde_json::from_value(json!({"model": "m", "max_tokens": 9, "messages": [],
                "tools": [{"type": "web_search_20250305", "name": "web_search"}, {"type": "bash_20250124", "name": "bash"}],
                "tool_choice": {"type": "tool", "name": name}}));
            forced_server_tool(&request.unwrap())
        };
        let reason =
            "tool_choice.name: web_search (web_search_20250305) is run by Anthropic's servers, so this model cannot call it";
        assert_eq!(forced("web_search").as_deref(), Some(reason));
        assert_eq!(forced("bash"), None);
        assert_eq!(forced("gone"), None);
    }
}
