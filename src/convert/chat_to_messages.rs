//! Converting a chat request to a Messages request.

use serde_json::{Map, Value, json};

use super::Omitted;
use crate::wire::openai::{
    AssistantMessage, ChatContent, ChatMessage, ChatRequest, ChatTool, ChatToolChoice, ContentPart, StopSequences,
};
use crate::wire::{Content, ContentBlock, InputMessage, MessagesRequest, Role, System, Tool, ToolChoice};

/// Upper bound on generated tokens where the client sets none. A Messages request must have one.
const DEFAULT_MAX_TOKENS: u32 = 8_192;

/// Converts a request. With it come the names of the fields that have no counterpart.
///
/// # Errors
/// One sentence that names the field: a call's arguments are not a JSON object, `tool_choice` has an unknown mode, or `n` asks
/// for more than one alternative.
pub fn from_chat(chat: ChatRequest) -> Result<(MessagesRequest, Omitted), String> {
    let mut omitted = Omitted::default();
    let mut extra = chat.extra;
    if extra.remove("n").is_some_and(|n| n.as_u64().is_some_and(|n| n > 1)) {
        return Err("n: one answer at a time is all there is".into());
    }
    let top_k = extra.remove("top_k").and_then(|value| value.as_u64()).and_then(|value| u32::try_from(value).ok());
    let counterparts = counterparts(&mut extra, chat.reasoning_effort)?;
    omitted.fields("", &extra);
    let (system, messages) = conversation(chat.messages, &mut omitted)?;
    let request = MessagesRequest {
        model: chat.model,
        messages,
        system: (!system.is_empty()).then(|| System::Text(system.join("\n\n"))),
        tools: chat.tools.into_iter().map(tool).collect(),
        tool_choice: tool_choice(chat.tool_choice, chat.parallel_tool_calls)?,
        max_tokens: chat.max_completion_tokens.or(chat.max_tokens).unwrap_or(DEFAULT_MAX_TOKENS),
        temperature: chat.temperature,
        top_p: chat.top_p,
        top_k,
        stop_sequences: match chat.stop {
            None => Vec::new(),
            Some(StopSequences::One(text)) => vec![text],
            Some(StopSequences::Many(texts)) => texts,
        },
        stream: chat.stream,
        extra: counterparts,
    };
    Ok((request, omitted))
}

/// Takes the fields from `extra` whose counterparts belong in [`MessagesRequest::extra`].
fn counterparts(extra: &mut Map<String, Value>, effort: Option<String>) -> Result<Map<String, Value>, String> {
    let mut fields = Map::new();
    // Anthropic has no seed, but the in-process engine reads it under this name.
    fields.extend(extra.remove("seed").map(|seed| ("seed".to_owned(), seed)));
    let mut config = Map::new();
    match effort.as_deref() {
        None => {}
        Some("none") => drop(fields.insert("thinking".into(), json!({"type": "disabled"}))),
        Some(effort) => drop(config.insert("effort".into(), json!(effort))),
    }
    let format = extra.remove("response_format").map(|format| output_format(&format)).transpose()?.flatten();
    config.extend(format.map(|format| ("format".to_owned(), format)));
    if !config.is_empty() {
        fields.insert("output_config".into(), Value::Object(config));
    }
    Ok(fields)
}

/// The counterpart of `response_format`; none for plain text. Anthropic has no `strict`, but the in-process engine reads it.
fn output_format(format: &Value) -> Result<Option<Value>, String> {
    let schema = &format["json_schema"]["schema"];
    match format["type"].as_str() {
        None if format.is_null() => Ok(None),
        Some("text") => Ok(None),
        Some("json_object") => {
            Ok(Some(json!({"type": "json_schema", "schema": {"type": "object", "additionalProperties": true}})))
        }
        Some("json_schema") if !schema.is_object() => Err("response_format.json_schema.schema: is not an object".into()),
        Some("json_schema") => {
            let strict = format["json_schema"]["strict"] == true;
            Ok(Some(json!({"type": "json_schema", "schema": schema, "strict": strict})))
        }
        _ => Err(format!("response_format.type: {} is none of text, json_object and json_schema", format["type"])),
    }
}

/// The texts of the system prompt, and the messages after it.
fn conversation(chat: Vec<ChatMessage>, omitted: &mut Omitted) -> Result<(Vec<String>, Vec<InputMessage>), String> {
    let mut system = Vec::new();
    let mut messages: Vec<InputMessage> = Vec::new();
    for (at, message) in chat.into_iter().enumerate() {
        match message {
            ChatMessage::System { content, extra } | ChatMessage::Developer { content, extra } => {
                omitted.fields("system", &extra);
                if messages.is_empty() {
                    system.push(plain(content, omitted));
                } else {
                    messages.push(InputMessage { role: Role::System, content: Content::Text(plain(content, omitted)) });
                }
            }
            ChatMessage::User { content, extra } => {
                omitted.fields("user", &extra);
                let content = match content {
                    ChatContent::Text(text) => Content::Text(text),
                    ChatContent::Parts(parts) => {
                        Content::Blocks(parts.into_iter().filter_map(|part| block(part, omitted)).collect())
                    }
                };
                messages.push(InputMessage { role: Role::User, content });
            }
            ChatMessage::Assistant(message) => {
                let blocks = assistant(message, at, omitted)?;
                messages.push(InputMessage { role: Role::Assistant, content: Content::Blocks(blocks) });
            }
            ChatMessage::Tool { tool_call_id, content, extra } => {
                omitted.fields("tool", &extra);
                let result = ContentBlock::ToolResult {
                    tool_use_id: tool_call_id,
                    content: Some(Content::Text(plain(content, omitted))),
                    is_error: false,
                    extra: Map::new(),
                };
                add_result(&mut messages, result);
            }
        }
    }
    Ok((system, messages))
}

/// Adds a tool result: the results of one turn share a message.
fn add_result(messages: &mut Vec<InputMessage>, result: ContentBlock) {
    if let Some(InputMessage { role: Role::User, content: Content::Blocks(blocks) }) = messages.last_mut()
        && matches!(blocks.last(), Some(ContentBlock::ToolResult { .. }))
    {
        blocks.push(result);
    } else {
        messages.push(InputMessage { role: Role::User, content: Content::Blocks(vec![result]) });
    }
}

fn assistant(message: AssistantMessage, at: usize, omitted: &mut Omitted) -> Result<Vec<ContentBlock>, String> {
    omitted.fields("assistant", &message.extra);
    let mut blocks = Vec::new();
    if let Some(thinking) = message.reasoning_content.or(message.reasoning).filter(|text| !text.is_empty()) {
        blocks.push(ContentBlock::Thinking { thinking, signature: String::new() });
    }
    let text = message.content.map(|content| plain(content, omitted)).unwrap_or_default();
    if !text.is_empty() {
        blocks.push(ContentBlock::text(text));
    }
    for (call_at, call) in message.tool_calls.into_iter().enumerate() {
        let arguments = Some(call.function.arguments.trim()).filter(|text| !text.is_empty()).unwrap_or("{}");
        let input = serde_json::from_str::<Map<String, Value>>(arguments);
        let input = input.map_err(|error| format!("messages.{at}.tool_calls.{call_at}.function.arguments: {error}"))?;
        blocks.push(ContentBlock::ToolUse {
            id: call.id,
            name: call.function.name,
            input: Value::Object(input),
            extra: Map::new(),
        });
    }
    Ok(blocks)
}

/// A message's text. Other parts are left out.
fn plain(content: ChatContent, omitted: &mut Omitted) -> String {
    match content {
        ChatContent::Text(text) => text,
        ChatContent::Parts(parts) => {
            let texts = parts.into_iter().filter_map(|part| match part {
                ContentPart::Text { text, extra } => {
                    omitted.fields("text", &extra);
                    Some(text)
                }
                ContentPart::Refusal { refusal } => Some(refusal),
                ContentPart::ImageUrl { .. } => {
                    omitted.add("image_url outside a user's message");
                    None
                }
                ContentPart::File { .. } => {
                    omitted.add("file outside a user's message");
                    None
                }
            });
            texts.collect::<Vec<_>>().join("\n\n")
        }
    }
}

fn block(part: ContentPart, omitted: &mut Omitted) -> Option<ContentBlock> {
    match part {
        ContentPart::Text { text, mut extra } => {
            // Some clients set cache breakpoints for Anthropic's models.
            let breakpoint = extra.remove("cache_control").map(|control| ("cache_control".to_owned(), control));
            omitted.fields("text", &extra);
            Some(ContentBlock::Text { text, extra: breakpoint.into_iter().collect() })
        }
        ContentPart::Refusal { refusal } => Some(ContentBlock::text(refusal)),
        ContentPart::ImageUrl { image_url } => {
            omitted.fields("image_url", &image_url.extra);
            Some(ContentBlock::Image { source: source(&image_url.url), extra: Map::new() })
        }
        ContentPart::File { file } => match file["file_data"].as_str() {
            Some(data) => Some(ContentBlock::Document { source: source(data), extra: Map::new() }),
            None => {
                omitted.add("file without file_data");
                None
            }
        },
    }
}

/// The source of an image or a file: a `data:` URL contains it, any other URL leads to it.
pub(super) fn source(url: &str) -> Value {
    let embedded = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match embedded {
        Some((media_type, data)) => json!({"type": "base64", "media_type": media_type, "data": data}),
        None => json!({"type": "url", "url": url}),
    }
}

fn tool(tool: ChatTool) -> Tool {
    let function = tool.function;
    let input_schema = function.parameters.filter(|schema| !schema.is_null());
    Tool {
        name: function.name,
        description: function.description,
        input_schema: input_schema.unwrap_or_else(|| json!({"type": "object", "properties": {}})),
        extra: function.extra.into_iter().filter(|(name, value)| name == "strict" && *value == true).collect(),
    }
}

fn tool_choice(choice: Option<ChatToolChoice>, parallel: Option<bool>) -> Result<Option<ToolChoice>, String> {
    let disable_parallel_tool_use = parallel == Some(false);
    Ok(match choice {
        None if disable_parallel_tool_use => Some(ToolChoice::Auto { disable_parallel_tool_use }),
        None => None,
        Some(ChatToolChoice::Function { function, .. }) => {
            Some(ToolChoice::Tool { name: function.name, disable_parallel_tool_use })
        }
        Some(ChatToolChoice::Mode(mode)) => match mode.as_str() {
            "auto" => Some(ToolChoice::Auto { disable_parallel_tool_use }),
            "required" => Some(ToolChoice::Any { disable_parallel_tool_use }),
            "none" => Some(ToolChoice::None),
            other => return Err(format!("tool_choice: {other} is none of none, auto and required")),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(chat: Value) -> Result<(Value, String), String> {
        let (request, omitted) = from_chat(serde_json::from_value(chat).unwrap())?;
        Ok((serde_json::to_value(request).unwrap(), omitted.to_string()))
    }

    #[test]
    fn a_conversation_with_calls_and_an_image_keeps_its_meaning() {
        let (request, omitted) = convert(json!({
            "model": "m", "max_completion_tokens": 64, "temperature": 0.0, "stop": "END", "stream": true, "seed": 7,
            "reasoning_effort": "low", "parallel_tool_calls": false, "tool_choice": "required",
            "tools": [{"type": "function", "function": {"name": "Read", "description": "Reads.", "parameters": {"type": "object"}, "strict": true}},
                      {"type": "function", "function": {"name": "Now"}}],
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Look:"},
                                             {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
                                             {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]},
                {"role": "assistant", "content": null, "reasoning_content": "Hm.", "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "Read", "arguments": "{\"path\":\"a\"}"}},
                    {"id": "c2", "type": "function", "function": {"name": "Now", "arguments": ""}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "A"},
                {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "noon"}]},
                {"role": "system", "content": "Hurry."},
                {"role": "user", "content": "Go on."},
            ],
        }))
        .unwrap();
        assert_eq!(
            request,
            json!({
                "model": "m", "max_tokens": 64, "temperature": 0.0, "stop_sequences": ["END"], "stream": true, "system": "Be brief.",
                "seed": 7, "output_config": {"effort": "low"}, "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
                "tools": [{"name": "Read", "description": "Reads.", "input_schema": {"type": "object"}, "strict": true},
                          {"name": "Now", "input_schema": {"type": "object", "properties": {}}}],
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Look:"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
                        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}]},
                    {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""},
                        {"type": "tool_use", "id": "c1", "name": "Read", "input": {"path": "a"}},
                        {"type": "tool_use", "id": "c2", "name": "Now", "input": {}}]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "A"},
                        {"type": "tool_result", "tool_use_id": "c2", "content": "noon"}]},
                    {"role": "system", "content": "Hurry."},
                    {"role": "user", "content": "Go on."},
                ],
            })
        );
        assert_eq!(omitted, "image_url.detail");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let call = |arguments: &str| json!([{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "Read", "arguments": arguments}}]}]);
        for (fields, expected) in [
            (json!({"messages": call("{")}), "messages.0.tool_calls.0.function.arguments: EOF while parsing"),
            (json!({"messages": call("[]")}), "messages.0.tool_calls.0.function.arguments: invalid type"),
            (json!({"messages": [], "response_format": {"type": "xml"}}), "response_format.type: \"xml\" is none of"),
            (json!({"messages": [], "response_format": {"type": "json_schema"}}), "response_format.json_schema.schema: "),
            (json!({"messages": [], "n": 2}), "n: one answer at a time"),
            (json!({"messages": [], "tool_choice": "maybe"}), "tool_choice: maybe is none of"),
        ] {
            let error = convert(fields).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_request_that_went_the_other_way_comes_back() {
        let original = json!({
            "model": "m", "max_tokens": 9, "stream": true, "system": "Be brief.",
            "tools": [{"name": "Read", "input_schema": {"type": "object"}}], "tool_choice": {"type": "tool", "name": "Read", "disable_parallel_tool_use": false},
            "messages": [
                {"role": "user", "content": "Read a."},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""}, {"type": "text", "text": "Yes."},
                    {"type": "tool_use", "id": "c1", "name": "Read", "input": {"path": "a"}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "A"}]},
            ],
        });
        let there =
            super::super::to_chat(&serde_json::from_value(original.clone()).unwrap(), "m", super::super::Dialect::Compatible);
        let (back, omitted) = from_chat(there.request).unwrap();
        assert_eq!(serde_json::to_value(back).unwrap(), original);
        assert!(omitted.is_empty());
    }
}
