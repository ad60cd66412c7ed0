//! A request's messages as chat templates want them: OpenAI-style messages and tools.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::python_json;
use crate::engine::EngineError;
use crate::wire::{Content, ContentBlock, InputMessage, MessagesRequest, OutputFormat, Role, System, Tool};

/// How a template is told of system messages in mid-conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateSystem {
    /// As system messages: the template takes them.
    AsSystem,
    /// As text of the user: the template takes a system message at the start only.
    AsUser,
}

/// The request's system prompt and conversation.
///
/// # Errors
/// The request holds an image or a document: the model reads text only.
pub fn messages(request: &MessagesRequest, late_system: LateSystem) -> Result<Vec<Value>, EngineError> {
    let mut messages = system(request);
    for message in &request.messages {
        convert(message, &request.tools, late_system, &mut messages)?;
    }
    Ok(messages)
}

/// The system prompt as the first message; nothing if there is none.
pub fn system(request: &MessagesRequest) -> Vec<Value> {
    let mut text = request.system.as_ref().map(System::text).unwrap_or_default();
    // At the end, so that requests without a format share the rest. A format that cannot be used is refused by the decoder.
    if let Ok(Some(format)) = OutputFormat::of(&request.extra) {
        let gap = if text.is_empty() { "" } else { "\n\n" };
        text.push_str(&format!("{gap}Text for the user is one JSON value and nothing else, by this JSON Schema:\n{}", format.schema));
    }
    if text.is_empty() { vec![] } else { vec![json!({"role": "system", "content": text})] }
}

/// The tool as an OpenAI-style function.
pub fn function(tool: &Tool) -> Value {
    let mut function = Map::new();
    function.insert("name".into(), json!(tool.name));
    function.extend(tool.description.iter().map(|text| ("description".into(), json!(text))));
    function.insert("parameters".into(), tool.input_schema.clone());
    json!({"type": "function", "function": function})
}

fn convert(message: &InputMessage, tools: &[Tool], late_system: LateSystem, out: &mut Vec<Value>) -> Result<(), EngineError> {
    let blocks = &*message.content.blocks();
    match (message.role, late_system) {
        (Role::Assistant, _) => assistant(blocks, out),
        // In first place it would pass for the system prompt, which is the same for all conversations.
        (Role::System, LateSystem::AsSystem) if !out.is_empty() => told("system", blocks, tools, out),
        (Role::System | Role::User, _) => told("user", blocks, tools, out),
    }
}

/// What the model is told: text, and results of its tool calls as messages of role `tool`, in the order they stand.
fn told(role: &str, blocks: &[ContentBlock], tools: &[Tool], out: &mut Vec<Value>) -> Result<(), EngineError> {
    let mut texts: Vec<&str> = Vec::new();
    let flush = |texts: &mut Vec<&str>, out: &mut Vec<Value>| {
        if !texts.is_empty() {
            out.push(json!({"role": role, "content": texts.join("\n\n")}));
            texts.clear();
        }
    };
    for block in blocks {
        match block {
            ContentBlock::Text { text, .. } => texts.push(text),
            ContentBlock::ToolResult { tool_use_id, content, is_error, .. } => {
                flush(&mut texts, out);
                let mark = if *is_error { "Error: " } else { "" };
                let content = format!("{mark}{}", result_text(content.as_ref(), tools));
                out.push(json!({"role": "tool", "tool_call_id": tool_use_id, "content": content}));
            }
            ContentBlock::Image { .. } | ContentBlock::Document { .. } => {
                return Err(EngineError::Request("this model takes no images and no documents: send text only".into()));
            }
            ContentBlock::ToolUse { .. }
            | ContentBlock::ToolReference { .. }
            | ContentBlock::Thinking { .. }
            | ContentBlock::RedactedThinking { .. } => {
                let reason = format!("a {role} message cannot hold tool_use, tool_reference or thinking blocks");
                return Err(EngineError::Request(reason));
            }
        }
    }
    flush(&mut texts, out);
    Ok(())
}

/// A tool result's text. An image in it becomes a placeholder: the rest of the result is still worth reading.
fn result_text(content: Option<&Content>, tools: &[Tool]) -> String {
    match content {
        None => String::new(),
        Some(Content::Text(text)) => text.clone(),
        Some(Content::Blocks(blocks)) => {
            let texts = blocks.iter().map(|block| match block {
                ContentBlock::Text { text, .. } => Cow::from(text),
                ContentBlock::Image { .. } => "[an image, which this model cannot see]".into(),
                ContentBlock::ToolReference { tool_name, .. } => found_tool(tool_name, tools).into(),
                _ => "[content that this model cannot read]".into(),
            });
            texts.collect::<Vec<_>>().join("\n")
        }
    }
}

/// A tool that a search found, as the list of tools would have it.
fn found_tool(name: &str, tools: &[Tool]) -> String {
    let definition = tools.iter().find(|tool| tool.name == name).and_then(|tool| python_json::one_line(&function(tool)).ok());
    match definition {
        Some(definition) => format!("You can call this tool now:\n{definition}"),
        None => format!("The tool {name} is gone."),
    }
}

/// The model's own words: one message for each run of text followed by calls, as templates put text before calls.
fn assistant(blocks: &[ContentBlock], out: &mut Vec<Value>) -> Result<(), EngineError> {
    #[derive(Default)]
    struct Turn {
        reasoning: String,
        text: String,
        calls: Vec<Value>,
    }
    let mut turns = vec![Turn::default()];
    for block in blocks {
        if let ContentBlock::Text { .. } | ContentBlock::Thinking { .. } = block
            && turns.last().is_some_and(|turn| !turn.calls.is_empty())
        {
            turns.push(Turn::default());
        }
        let Some(turn) = turns.last_mut() else { continue };
        match block {
            ContentBlock::Text { text, .. } => turn.text.push_str(text),
            ContentBlock::Thinking { thinking, .. } => turn.reasoning.push_str(thinking),
            ContentBlock::RedactedThinking { .. } => {}
            ContentBlock::ToolUse { id, name, input, .. } => {
                let function = json!({"name": name, "arguments": input});
                turn.calls.push(json!({"id": id, "type": "function", "function": function}));
            }
            ContentBlock::Image { .. }
            | ContentBlock::Document { .. }
            | ContentBlock::ToolReference { .. }
            | ContentBlock::ToolResult { .. } => {
                let reason = "an assistant message cannot hold image, document, tool_reference or tool_result blocks";
                return Err(EngineError::Request(reason.into()));
            }
        }
    }
    for Turn { reasoning, text, calls } in turns {
        let mut message = json!({"role": "assistant", "content": text});
        if !reasoning.is_empty() {
            message["reasoning_content"] = json!(reasoning);
        }
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
        }
        out.push(message);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(body: Value) -> Result<Value, String> {
        let mut request = json!({"model": "m", "max_tokens": 9, "messages": []});
        request.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let request: MessagesRequest = serde_json::from_value(request).unwrap();
        messages(&request, LateSystem::AsSystem).map(Value::from).map_err(|error| error.to_string())
    }

    #[test]
    fn system_blocks_are_joined_and_the_billing_header_is_left_out() {
        let header = "x-anthropic-billing-header: cc_version=1; cch=ab12;";
        let system = json!([{"type":"text","text":header}, {"type":"text","text":"A","cache_control":{"type":"ephemeral"}}, {"type":"text","text":"B"}]);
        assert_eq!(converted(json!({"system": system})).unwrap(), json!([{"role":"system","content":"A\n\nB"}]));
        assert_eq!(converted(json!({"system": [{"type":"text","text":header}]})).unwrap(), json!([]));
        assert_eq!(converted(json!({"system": "A"})).unwrap(), json!([{"role":"system","content":"A"}]));
    }

    #[test]
    fn tool_results_become_tool_messages_in_place() {
        let content = json!([
            {"type":"tool_result","tool_use_id":"t1","content":"one"},
            {"type":"tool_result","tool_use_id":"t2","is_error":true,"content":[{"type":"text","text":"no"},{"type":"image","source":{}}]},
            {"type":"tool_result","tool_use_id":"t3"},
            {"type":"text","text":"go","cache_control":{"type":"ephemeral"}}, {"type":"text","text":"on"}]);
        assert_eq!(
            converted(json!({"messages":[{"role":"user","content":content}]})).unwrap(),
            json!([
                {"role":"tool","tool_call_id":"t1","content":"one"},
                {"role":"tool","tool_call_id":"t2","content":"Error: no\n[an image, which this model cannot see]"},
                {"role":"tool","tool_call_id":"t3","content":""},
                {"role":"user","content":"go\n\non"}])
        );
    }

    #[test]
    fn an_assistant_turn_keeps_the_order_of_text_and_calls() {
        let content = json!([
            {"type":"thinking","thinking":"hm","signature":"s"}, {"type":"text","text":"a"},
            {"type":"tool_use","id":"1","name":"X","input":{"b":1,"a":2}}, {"type":"tool_use","id":"2","name":"Y","input":{}},
            {"type":"text","text":"c"}]);
        let call =
            |id: &str, name: &str, input: Value| json!({"id":id,"type":"function","function":{"name":name,"arguments":input}});
        assert_eq!(
            converted(json!({"messages":[{"role":"assistant","content":content}]})).unwrap(),
            json!([
                {"role":"assistant","content":"a","reasoning_content":"hm",
                 "tool_calls":[call("1", "X", json!({"b":1,"a":2})), call("2", "Y", json!({}))]},
                {"role":"assistant","content":"c"}])
        );
    }

    #[test]
    fn an_image_is_refused() {
        let body = json!({"messages":[{"role":"user","content":[{"type":"image","source":{}}]}]});
        assert_eq!(converted(body).unwrap_err(), "this model takes no images and no documents: send text only");
    }

    #[test]
    fn a_tool_is_a_function_without_cache_control() {
        let tool: Tool =
            serde_json::from_value(json!({"name":"X","description":"d","input_schema":{"type":"object"},"cache_control":{}}))
                .unwrap();
        assert_eq!(
            function(&tool).to_string(),
            r#"{"type":"function","function":{"name":"X","description":"d","parameters":{"type":"object"}}}"#
        );
    }
}
