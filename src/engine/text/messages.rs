//! Converts a request's conversation to the list of messages that chat templates expect.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::call_ids::CallIds;
use super::python;
use super::template_traits::Descriptions;
use crate::engine::EngineError;
use crate::wire::{Content, ContentBlock, MessagesRequest, OutputFormat, Role, System, Tool, ToolChange};

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum TemplateMessage {
    System(String),
    User(String),
    Assistant(Turn),
    Result(ToolResult),
}

/// One message of the model. Templates render the text before the calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    pub reasoning: String,
    pub text: String,
    pub calls: Vec<Call>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The id used in prompts, not the client's: see [`super::call_ids`].
    pub id: String,
    pub name: String,
    pub input: Value,
}

/// The result of a tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    pub call_id: String,
    pub name: Option<String>,
    pub text: String,
}

/// The request's system prompt and conversation.
///
/// # Errors
/// A message holds content blocks that its role cannot have. Images and documents must have been replaced by text
/// before.
pub(super) fn messages(request: &MessagesRequest) -> Result<Vec<TemplateMessage>, EngineError> {
    let mut messages = system(request);
    let mut ids = CallIds::default();
    for message in &request.messages {
        let blocks = &*message.blocks();
        match message.role {
            Role::Assistant => assistant(blocks, &mut ids, &mut messages)?,
            // As the first message it would be taken for the system prompt, which conversations share in the
            // prefix cache; so there it becomes a user message.
            Role::System if !messages.is_empty() => told(Teller::System, blocks, &request.tools, &ids, &mut messages)?,
            Role::System | Role::User => told(Teller::User, blocks, &request.tools, &ids, &mut messages)?,
        }
    }
    Ok(messages)
}

/// The system prompt as the first message; nothing if there is none.
pub(super) fn system(request: &MessagesRequest) -> Vec<TemplateMessage> {
    let mut text = request.system.as_ref().map(System::text).unwrap_or_default();
    // Appended, so that requests with and without an output format share the rest of the prefix. An unusable
    // format is ignored here, because the decoder refuses it.
    if let Ok(Some(format)) = OutputFormat::of(&request.extra) {
        let gap = if text.is_empty() { "" } else { "\n\n" };
        text.push_str(&format!(
            "{gap}Text for the user is one JSON value and nothing else, by this JSON Schema:\n{}",
            format.schema
        ));
    }
    if text.is_empty() { vec![] } else { vec![TemplateMessage::System(text)] }
}

/// The tool as an OpenAI-style function.
pub(super) fn function(tool: &Tool, descriptions: Descriptions) -> Value {
    let mut function = Map::new();
    function.insert("name".into(), json!(tool.name));
    let description = match descriptions {
        Descriptions::AsGiven => tool.description.as_deref(),
        Descriptions::Always => Some(tool.description.as_deref().unwrap_or_default()),
    };
    function.extend(description.map(|text| ("description".into(), json!(text))));
    function.insert("parameters".into(), tool.input_schema.clone());
    json!({"type": "function", "function": function})
}

/// The role in which the model is told something.
#[derive(Clone, Copy)]
enum Teller {
    System,
    User,
}

/// Converts a user or system message. Tool results become messages of their own; text between them is joined, and
/// the order is kept.
fn told(
    teller: Teller,
    blocks: &[ContentBlock],
    tools: &[Tool],
    ids: &CallIds,
    out: &mut Vec<TemplateMessage>,
) -> Result<(), EngineError> {
    let mut texts: Vec<Cow<str>> = Vec::new();
    let flush = |texts: &mut Vec<Cow<str>>, out: &mut Vec<TemplateMessage>| {
        if !texts.is_empty() {
            let text = texts.join("\n\n");
            out.push(match teller {
                Teller::System => TemplateMessage::System(text),
                Teller::User => TemplateMessage::User(text),
            });
            texts.clear();
        }
    };
    for block in blocks {
        match block {
            ContentBlock::Text { text, .. } => texts.push(text.into()),
            ContentBlock::ToolResult { tool_use_id, content, is_error, .. } => {
                flush(&mut texts, out);
                let mark = if *is_error { "Error: " } else { "" };
                let text = format!("{mark}{}", result_text(content.as_ref(), tools));
                let (call_id, name) = ids.of_result(tool_use_id);
                out.push(TemplateMessage::Result(ToolResult { call_id, name: name.map(str::to_owned), text }));
            }
            other => match ToolChange::of(other) {
                Some(change) => texts.push(told_change(change, tools).into()),
                None => {
                    let role = match teller {
                        Teller::System => "system",
                        Teller::User => "user",
                    };
                    return Err(EngineError::Request(format!("a {role} message cannot hold {} blocks", other.kind())));
                }
            },
        }
    }
    flush(&mut texts, out);
    Ok(())
}

/// A tool result as text, with a note in place of each content block that is not text.
fn result_text(content: Option<&Content>, tools: &[Tool]) -> String {
    match content {
        None => String::new(),
        Some(Content::Text(text)) => text.clone(),
        Some(Content::Blocks(blocks)) => {
            let texts = blocks.iter().map(|block| match block {
                ContentBlock::Text { text, .. } => Cow::from(text),
                other => match ToolChange::of(other) {
                    Some(change) => told_change(change, tools).into(),
                    None => format!("[{}, which this model cannot read]", other.kind()).into(),
                },
            });
            texts.collect::<Vec<_>>().join("\n")
        }
    }
}

/// The sentence that tells the model of a change to its tools. A tool that has become callable is written as in
/// the prompt's list of tools.
fn told_change(change: ToolChange, tools: &[Tool]) -> String {
    let found = |tool: &Tool| match python::json::one_line(&function(tool, Descriptions::AsGiven)) {
        Ok(definition) => format!("You can call this tool now:\n{definition}"),
        Err(_) => format!("You can call the tool {} now.", tool.name),
    };
    match change {
        ToolChange::Defined(tool) => found(&tool),
        ToolChange::Removed(name) => format!("The tool {name} is gone."),
        ToolChange::Found(name) => match tools.iter().find(|tool| tool.name == name) {
            Some(tool) => found(tool),
            None => format!("The tool {name} is gone."),
        },
    }
}

/// Converts an assistant message. Text after calls starts a new turn, because templates render a turn's text
/// before its calls.
fn assistant(blocks: &[ContentBlock], ids: &mut CallIds, out: &mut Vec<TemplateMessage>) -> Result<(), EngineError> {
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
                turn.calls.push(Call { id: ids.of_call(id, name), name: name.clone(), input: input.clone() });
            }
            other => {
                return Err(EngineError::Request(format!("an assistant message cannot hold {} blocks", other.kind())));
            }
        }
    }
    out.extend(turns.into_iter().map(TemplateMessage::Assistant));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::template::shaped;
    use super::super::template_traits::TemplateTraits;
    use super::*;

    fn converted(body: Value) -> Result<Vec<Value>, String> {
        let mut request = json!({"model": "m", "max_tokens": 9, "messages": []});
        request.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let request: MessagesRequest = serde_json::from_value(request).unwrap();
        let messages = messages(&request).map_err(|error| error.to_string())?;
        Ok(shaped(messages, &TemplateTraits::default()))
    }

    #[test]
    fn system_blocks_are_joined_and_the_billing_header_is_left_out() {
        let header = "x-anthropic-billing-header: cc_version=1; cch=ab12;";
        let system = json!([{"type":"text","text":header}, {"type":"text","text":"A","cache_control":{"type":"ephemeral"}}, {"type":"text","text":"B"}]);
        assert_eq!(converted(json!({"system": system})).unwrap(), [json!({"role":"system","content":"A\n\nB"})]);
        assert_eq!(converted(json!({"system": [{"type":"text","text":header}]})).unwrap(), Vec::<Value>::new());
        assert_eq!(converted(json!({"system": "A"})).unwrap(), [json!({"role":"system","content":"A"})]);
    }

    #[test]
    fn tool_results_become_tool_messages_in_place() {
        let calls = ["X", "Y"].iter().zip(["toolu_1", "toolu_2"]);
        let calls: Value = calls.map(|(name, id)| json!({"type":"tool_use","id":id,"name":name,"input":{}})).collect();
        let content = json!([
            {"type":"tool_result","tool_use_id":"toolu_2","content":"one"},
            {"type":"tool_result","tool_use_id":"toolu_1","is_error":true,"content":[{"type":"text","text":"no"},{"type":"text","text":"go"}]},
            {"type":"tool_result","tool_use_id":"t3"},
            {"type":"text","text":"go","cache_control":{"type":"ephemeral"}}, {"type":"text","text":"on"}]);
        assert_eq!(
            converted(json!({"messages":[{"role":"assistant","content":calls},{"role":"user","content":content}]})).unwrap()[1..],
            [
                json!({"role":"tool","tool_call_id":"call00002","content":"one","name":"Y"}),
                json!({"role":"tool","tool_call_id":"call00001","content":"Error: no\ngo","name":"X"}),
                json!({"role":"tool","tool_call_id":"call00000","content":""}),
                json!({"role":"user","content":"go\n\non"})
            ]
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
            [
                json!({"role":"assistant","content":"a","reasoning_content":"hm","thinking":"hm",
                       "tool_calls":[call("call00001", "X", json!({"b":1,"a":2})), call("call00002", "Y", json!({}))]}),
                json!({"role":"assistant","content":"c"})
            ]
        );
    }

    #[test]
    fn blocks_that_a_role_cannot_have_are_refused() {
        let refused = |role: &str, block: Value| converted(json!({"messages":[{"role":role,"content":[block]}]})).unwrap_err();
        let call = json!({"type":"tool_use","id":"1","name":"X","input":{}});
        assert_eq!(refused("user", call), "a user message cannot hold tool_use blocks");
        let result = json!({"type":"tool_result","tool_use_id":"1"});
        assert_eq!(refused("assistant", result), "an assistant message cannot hold tool_result blocks");
    }

    #[test]
    fn changes_of_the_tools_are_told_where_they_happen() {
        let change = |kind: &str, tool: Value| json!({"type":format!("tool_{kind}"),"tool":tool});
        let definition = json!({"type":"tool_definition","definition":{"name":"X","input_schema":{}}});
        let content = json!([change("removal", json!({"name":"Y"})), change("addition", definition)]);
        let messages = json!([{"role":"user","content":"Hi"},{"role":"system","content":content}]);
        assert_eq!(
            converted(json!({"messages":messages})).unwrap()[1]["content"],
            "The tool Y is gone.\n\nYou can call this tool now:\n{\"type\": \"function\", \"function\": {\"name\": \"X\", \"parameters\": {}}}"
        );
    }

    #[test]
    fn a_tool_is_a_function_without_cache_control() {
        let tool: Tool =
            serde_json::from_value(json!({"name":"X","description":"d","input_schema":{"type":"object"},"cache_control":{}}))
                .unwrap();
        assert_eq!(
            function(&tool, Descriptions::AsGiven).to_string(),
            r#"{"type":"function","function":{"name":"X","description":"d","parameters":{"type":"object"}}}"#
        );
    }
}
