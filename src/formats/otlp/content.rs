//! What a span says was asked and answered, as blocks of the Messages API.
//!
//! Instrumentations follow one of two conventions: all messages in one attribute, made of parts, or, until 2025, an attribute for
//! each field of each message, such as `gen_ai.prompt.0.content`.

use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::attributes::Attributes;

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
        Some(Value::Array(messages)) => Ok(messages.iter().map(said).collect()),
        _ => Err(unread(MESSAGES)),
    }
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

/// The answer, and why it ended in the span's words, `None` if the span does not hold it.
pub(super) fn answered(attributes: &Attributes) -> Option<(Value, Option<String>)> {
    let one_attribute = attributes.structured("gen_ai.output.messages");
    if let Some(message) = one_attribute.as_ref().and_then(|messages| messages.get(0)) {
        return Some((as_blocks(said(message).content)?, message["finish_reason"].as_str().map(str::to_owned)));
    }
    let content = as_blocks(numbered(attributes, "gen_ai.completion").into_iter().next()?.content)?;
    Some((content, attributes.text("gen_ai.completion.0.finish_reason").map(str::to_owned)))
}

/// The content of an answer, which is never a text; `None` if there is none.
fn as_blocks(content: Value) -> Option<Value> {
    match content {
        Value::String(_) => Some(json!([{"type": "text", "text": content}])),
        Value::Array(_) => Some(content),
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
    text.trim_start().starts_with("[{\"") && serde_json::from_str::<IgnoredAny>(text).is_err()
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
        "tool_call_response" => json!({"type": "tool_result", "tool_use_id": part["id"], "content": part["response"]}),
        "blob" if part["modality"] == "image" => {
            json!({"type": "image", "source": {"type": "base64", "media_type": part["mime_type"], "data": part["content"]}})
        }
        _ => part.clone(),
    }
}

/// Arguments may stand there as the text of their JSON.
fn arguments(value: &Value) -> Value {
    value.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| value.clone())
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
    let blocks: Vec<Value> = serde_json::from_str(text).ok()?;
    (!blocks.is_empty() && blocks.iter().all(|block| block["type"].is_string())).then_some(blocks)
}
