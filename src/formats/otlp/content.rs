//! What a span says was asked and answered, as blocks of the Messages API.
//!
//! Instrumentations follow one of two conventions: all messages in one attribute, made of parts, or, until 2025, an attribute for
//! each field of each message, such as `gen_ai.prompt.0.content`.

use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::attributes::Attributes;
use crate::trace::spelled_arguments;
use crate::wire::from_json;

/// A message of a conversation, with its role in the span's words.
pub(super) struct Said {
    pub role: String,
    /// Blocks, or a text.
    pub content: Value,
}

/// What was asked; nothing if the span does not hold it.
///
/// # Errors
/// It is cut; what to say of it.
pub(super) fn asked(attributes: &Attributes) -> Result<Vec<Said>, String> {
    const MESSAGES: &str = "gen_ai.input.messages";
    if attributes.get(MESSAGES).is_none() {
        let messages = numbered(attributes, "gen_ai.prompt");
        let is_cut = |message: &Said| message.content.as_str().is_some_and(is_cut);
        return match messages.iter().position(is_cut) {
            Some(index) => Err(unread(&format!("gen_ai.prompt.{index}.content"))),
            None => Ok(messages),
        };
    }
    match attributes.structured(MESSAGES) {
        Some(Value::Array(messages)) if messages.iter().any(lacks_result) => {
            Err(format!("`{MESSAGES}` does not hold what a tool gave"))
        }
        Some(Value::Array(messages)) => Ok(messages.iter().map(said).collect()),
        _ => Err(unread(MESSAGES)),
    }
}

fn lacks_result(message: &Value) -> bool {
    let mut parts = message["parts"].as_array().into_iter().flatten();
    parts.any(|part| part["type"] == "tool_call_response" && result(part).is_null())
}

/// What a tool gave: the conventions have had two names for it.
fn result(part: &Value) -> &Value {
    if part["response"].is_null() { &part["result"] } else { &part["response"] }
}

/// The system prompt in an attribute of its own, if it is there.
///
/// # Errors
/// It is cut; what to say of it.
pub(super) fn instructions(attributes: &Attributes) -> Result<Option<Value>, String> {
    const INSTRUCTIONS: &str = "gen_ai.system_instructions";
    Ok(match attributes.structured(INSTRUCTIONS) {
        Some(parts @ Value::Array(_)) => Some(blocks(&parts)),
        // Many instrumentations have the text alone.
        _ => match attributes.get(INSTRUCTIONS) {
            Some(Value::String(text)) if is_cut(text) => return Err(unread(INSTRUCTIONS)),
            Some(text @ Value::String(_)) => Some(text.clone()),
            Some(_) => return Err(unread(INSTRUCTIONS)),
            None => None,
        },
    })
}

/// The answer, and why it ended in the span's words, `None` if the span does not hold it. Anthropic's API gives one: what stands
/// there as several messages are its blocks.
pub(super) fn answered(attributes: &Attributes) -> Option<(Value, Option<String>)> {
    let one_attribute = attributes.structured("gen_ai.output.messages");
    let (messages, reason) = match one_attribute.as_ref().and_then(Value::as_array).filter(|messages| !messages.is_empty()) {
        Some(messages) => {
            let reason = messages.iter().rev().find_map(|message| message["finish_reason"].as_str());
            (messages.iter().map(said).collect(), reason.map(str::to_owned))
        }
        None => {
            let messages = numbered(attributes, "gen_ai.completion");
            let names = (0..messages.len()).rev().map(|index| format!("gen_ai.completion.{index}.finish_reason"));
            let reason = names.into_iter().find_map(|name| attributes.text(&name));
            (messages, reason.map(str::to_owned))
        }
    };
    let blocks: Option<Vec<Vec<Value>>> = messages.into_iter().map(|said: Said| as_blocks(said.content)).collect();
    let blocks = blocks.filter(|messages| !messages.is_empty())?;
    Some((blocks.into_iter().flatten().collect(), reason))
}

/// The content of an answer, which is never a text; `None` if there is none.
fn as_blocks(content: Value) -> Option<Vec<Value>> {
    match content {
        Value::String(_) => Some(vec![json!({"type": "text", "text": content})]),
        Value::Array(blocks) => Some(blocks),
        _ => None,
    }
}

/// The tools on offer.
///
/// # Errors
/// They are cut; what to say of it.
pub(super) fn tools(attributes: &Attributes) -> Result<Vec<Value>, String> {
    const TOOLS: &str = "gen_ai.tool.definitions";
    if attributes.get(TOOLS).is_none() {
        let function = |index: usize| function(attributes, &format!("llm.request.functions.{index}")).transpose();
        return (0..).map_while(function).collect();
    }
    match attributes.structured(TOOLS) {
        Some(Value::Array(tools)) => Ok(tools.into_iter().map(tool).collect()),
        _ => Err(unread(TOOLS)),
    }
}

/// A tool of the older convention; `None` if there is no such one.
fn function(attributes: &Attributes, prefix: &str) -> Result<Option<Value>, String> {
    let Some(name) = attributes.text(&format!("{prefix}.name")) else { return Ok(None) };
    let schema = ["input_schema", "parameters"].map(|field| format!("{prefix}.{field}"));
    let schema = match schema.iter().find(|name| attributes.get(name).is_some()) {
        Some(name) => attributes.structured(name).ok_or_else(|| unread(name))?,
        None => Value::Null,
    };
    let description = attributes.get(&format!("{prefix}.description"));
    Ok(Some(tool(json!({"name": name, "description": description, "input_schema": schema}))))
}

/// What is said of an attribute whose JSON is none.
fn unread(name: &str) -> String {
    format!("`{name}` is no JSON; a limit on the length of attributes may have cut it")
}

/// Whether a text begins as the JSON of a list of objects, and does not go on so.
fn is_cut(text: &str) -> bool {
    text.trim_start().starts_with("[{\"") && from_json::<IgnoredAny>(text.as_bytes()).is_err()
}

/// The blocks of a list of parts.
fn blocks(parts: &Value) -> Value {
    parts.as_array().into_iter().flatten().map(block).collect()
}

fn said(message: &Value) -> Said {
    let content = if message["parts"].is_array() { blocks(&message["parts"]) } else { message["content"].clone() };
    Said { role: message["role"].as_str().unwrap_or_default().to_owned(), content }
}

/// A part as the block that it stands for. Kinds that the conventions do not know have kept their own form.
fn block(part: &Value) -> Value {
    match part["type"].as_str().unwrap_or_default() {
        "text" => json!({"type": "text", "text": part["content"]}),
        "reasoning" => json!({"type": "thinking", "thinking": part["content"]}),
        "tool_call" => {
            json!({"type": "tool_use", "id": part["id"], "name": part["name"], "input": arguments(&part["arguments"])})
        }
        "tool_call_response" => json!({"type": "tool_result", "tool_use_id": part["id"], "content": result(part)}),
        "blob" if part["modality"] == "image" => {
            json!({"type": "image", "source": {"type": "base64", "media_type": part["mime_type"], "data": part["content"]}})
        }
        _ => part.clone(),
    }
}

/// Arguments may stand there as the text of their JSON.
fn arguments(value: &Value) -> Value {
    value.as_str().map_or_else(|| value.clone(), spelled_arguments)
}

fn tool(definition: Value) -> Value {
    let schema = if definition["input_schema"].is_null() { &definition["parameters"] } else { &definition["input_schema"] };
    let fields = [("name", &definition["name"]), ("description", &definition["description"]), ("input_schema", schema)];
    fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value.clone())).collect()
}

/// The messages of the older convention.
fn numbered(attributes: &Attributes, prefix: &str) -> Vec<Said> {
    (0..).map_while(|index| numbered_message(attributes, &format!("{prefix}.{index}"))).collect()
}

fn numbered_message(attributes: &Attributes, prefix: &str) -> Option<Said> {
    let field = |name: &str| attributes.get(&format!("{prefix}.{name}"));
    let content = field("content").cloned();
    let calls: Vec<Value> = (0..)
        .map_while(|call| {
            let field = |name: &str| field(&format!("tool_calls.{call}.{name}"));
            let input = arguments(field("arguments").unwrap_or(&Value::Null));
            Some(json!({"type": "tool_use", "id": field("id"), "name": field("name")?, "input": input}))
        })
        .collect();
    let role = field("role").and_then(Value::as_str);
    if role.is_none() && content.is_none() {
        return None;
    }
    let text = content.unwrap_or_default();
    let spelled = text.as_str().and_then(listed_blocks);
    let content = match (spelled, calls.is_empty()) {
        (Some(blocks), true) => Value::Array(blocks),
        // The blocks have the calls, too.
        (Some(blocks), false) if blocks.iter().any(|block| block["type"] == "tool_use") => Value::Array(blocks),
        (Some(blocks), false) => blocks.into_iter().chain(calls).collect(),
        (None, true) => text,
        (None, false) => {
            let text = text.as_str().filter(|text| !text.is_empty()).map(|text| json!({"type": "text", "text": text}));
            text.into_iter().chain(calls).collect()
        }
    };
    Some(Said { role: role.unwrap_or_default().to_owned(), content })
}

/// Content of several blocks stands there as the text of its JSON.
fn listed_blocks(text: &str) -> Option<Vec<Value>> {
    let blocks: Vec<Value> = from_json(text.as_bytes()).ok()?;
    (!blocks.is_empty() && blocks.iter().all(|block| block["type"].is_string())).then_some(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A span with this one attribute.
    fn attributes(name: &str, value: &Value) -> Attributes {
        let attribute = json!([{"key": name, "value": {"stringValue": value.to_string()}}]);
        Attributes::new(serde_json::from_value(attribute).unwrap())
    }

    #[test]
    fn what_a_tool_gave_has_two_names_and_no_third() {
        let asked = |field: &str| {
            let part = json!({"type": "tool_call_response", "id": "t", field: "found"});
            let attributes = attributes("gen_ai.input.messages", &json!([{"role": "tool", "parts": [part]}]));
            asked(&attributes).map(|said| said[0].content[0]["content"].clone())
        };
        assert_eq!(asked("response"), Ok(json!("found")));
        assert_eq!(asked("result"), Ok(json!("found")));
        insta::assert_snapshot!(asked("other").unwrap_err(), @"`gen_ai.input.messages` does not hold what a tool gave");
    }

    #[test]
    fn an_answer_in_several_messages_is_one() {
        let text = |text: &str| json!({"role": "assistant", "parts": [{"type": "text", "content": text}]});
        let mut last = json!({"role": "assistant", "parts": [{"type": "tool_call", "id": "t", "name": "f", "arguments": ""}]});
        last["finish_reason"] = json!("tool_call");
        let (content, reason) = answered(&attributes("gen_ai.output.messages", &json!([text("a"), last]))).unwrap();
        assert_eq!(
            content,
            json!([
                {"type": "text", "text": "a"}, {"type": "tool_use", "id": "t", "name": "f", "input": {}},
            ])
        );
        assert_eq!(reason.as_deref(), Some("tool_call"));
        assert!(answered(&attributes("gen_ai.output.messages", &json!([]))).is_none());
    }
}
