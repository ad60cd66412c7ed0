//! Converting a chat request to a Messages request.

use serde_json::{Map, Value, json};

use super::Omitted;
use super::openai_fields::{any_object_format, choice_of_mode, input_schema, schema_format, stop_sequences, top_k, turn_to_answer};
use crate::wire::openai::{
    AllowedTool, AllowedTools, AssistantMessage, ChatContent, ChatMessage, ChatRequest, ChatTool, ChatToolChoice, ContentPart,
};
use crate::wire::{
    Content, ContentBlock, ENGINE_FIELDS, InputMessage, MessagesRequest, Role, System, Tool, ToolChoice, from_json,
};

/// Fields with which a client asks for something else than it would get if they were left out.
const REFUSED: [(&str, &str); 7] = [
    ("functions", "give the functions as tools"),
    ("function_call", "use tool_choice"),
    ("logprobs", "the probabilities of tokens are not reported"),
    ("top_logprobs", "the probabilities of tokens are not reported"),
    ("logit_bias", "the likelihood of single tokens cannot be changed"),
    ("audio", "answers are text"),
    ("web_search_options", "this server does not search the web"),
];

/// Converts a request. With it come the names of the fields that have no counterpart.
///
/// # Errors
/// One sentence that names the field: its value cannot be meant, or it asks for what no backend here can do.
pub fn from_chat(chat: ChatRequest) -> Result<(MessagesRequest, Omitted), String> {
    let mut omitted = Omitted::default();
    let mut extra = chat.extra;
    refuse_fields(&mut extra)?;
    let top_k = top_k(&mut extra)?;
    let counterparts = counterparts(&mut extra, chat.reasoning_effort)?;
    omitted.fields("", &extra);
    if let Some(options) = &chat.stream_options {
        omitted.fields("stream_options", &options.extra);
    }
    let (mut system, mut messages) = conversation(chat.messages, &mut omitted)?;
    turn_to_answer(&mut system, &mut messages);
    let mut tools: Vec<Tool> = chat.tools.into_iter().map(|offered| tool(offered, &mut omitted)).collect();
    let request = MessagesRequest {
        model: chat.model,
        messages,
        system: (!system.is_empty()).then(|| System::Text(system.join("\n\n"))),
        tool_choice: tool_choice(chat.tool_choice, chat.parallel_tool_calls, &mut tools)?,
        tools,
        max_tokens: chat.max_completion_tokens.or(chat.max_tokens).unwrap_or(MessagesRequest::AS_MANY_AS_FIT),
        temperature: chat.temperature,
        top_p: chat.top_p,
        top_k,
        stop_sequences: stop_sequences(chat.stop),
        stream: chat.stream,
        extra: counterparts,
    };
    Ok((request, omitted))
}

/// Takes the fields from `extra` that ask for nothing, and refuses those that ask for something impossible.
fn refuse_fields(extra: &mut Map<String, Value>) -> Result<(), String> {
    match extra.remove("n") {
        None | Some(Value::Null) => {}
        Some(n) if n == 1 => {}
        Some(n) => return Err(format!("n: {n} is not supported: each request gets one answer")),
    }
    match extra.remove("modalities") {
        None | Some(Value::Null) => {}
        Some(modalities) if modalities == json!(["text"]) => {}
        Some(modalities) => return Err(format!("modalities: {modalities} is not supported: answers are text")),
    }
    for (name, instead) in REFUSED {
        let asks_for_nothing = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Object(fields) => fields.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        // `"function_call": "none"` and `"top_logprobs": 0` are what clients send that do not mean the field.
        if extra.remove(name).is_some_and(|value| !asks_for_nothing(&value) && value != "none" && value != 0) {
            return Err(format!("{name}: not supported: {instead}"));
        }
    }
    Ok(())
}

/// Takes the fields from `extra` whose counterparts belong in [`MessagesRequest::extra`].
fn counterparts(extra: &mut Map<String, Value>, effort: Option<String>) -> Result<Map<String, Value>, String> {
    let mut fields = Map::new();
    fields.extend(ENGINE_FIELDS.iter().filter_map(|name| extra.remove_entry(*name)).filter(|(_, value)| !value.is_null()));
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

/// The counterpart of `response_format`; none for plain text.
fn output_format(format: &Value) -> Result<Option<Value>, String> {
    match format["type"].as_str() {
        None if format.is_null() => Ok(None),
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(any_object_format())),
        Some("json_schema") => {
            let named = &format["json_schema"];
            schema_format(&named["schema"], &named["strict"], "response_format.json_schema.schema").map(Some)
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
                let content = Some(result_content(content, omitted));
                let result = ContentBlock::ToolResult { tool_use_id: tool_call_id, content, is_error: false, extra: Map::new() };
                add_result(&mut messages, result);
            }
        }
    }
    Ok((system, messages))
}

/// A tool's output: one text, or blocks if there is more than text in it.
fn result_content(content: ChatContent, omitted: &mut Omitted) -> Content {
    match content {
        ChatContent::Parts(parts) if parts.iter().any(|part| !matches!(part, ContentPart::Text { .. })) => {
            Content::Blocks(parts.into_iter().filter_map(|part| block(part, omitted)).collect())
        }
        content => Content::Text(plain(content, omitted)),
    }
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
    if message.extra.get("function_call").is_some_and(|call| !call.is_null()) {
        return Err(format!("messages.{at}.function_call: not supported: give the call in tool_calls"));
    }
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
        let input = from_json::<Map<String, Value>>(arguments.as_bytes());
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

fn tool(tool: ChatTool, omitted: &mut Omitted) -> Tool {
    let mut function = tool.function;
    let strict = function.extra.remove_entry("strict").filter(|(_, value)| *value == true);
    omitted.fields("tools.function", &function.extra);
    Tool {
        name: function.name,
        description: function.description,
        input_schema: input_schema(function.parameters),
        extra: strict.into_iter().collect(),
    }
}

/// The choice in Anthropic's terms. A list of allowed tools, which those do not have, takes the others out of `tools`.
fn tool_choice(
    choice: Option<ChatToolChoice>,
    parallel: Option<bool>,
    tools: &mut Vec<Tool>,
) -> Result<Option<ToolChoice>, String> {
    let disable_parallel_tool_use = parallel == Some(false);
    let of_mode = |mode: &str, field: &str| choice_of_mode(mode, field, disable_parallel_tool_use);
    Ok(match choice {
        None | Some(ChatToolChoice::Other(Value::Null)) if disable_parallel_tool_use => {
            Some(ToolChoice::Auto { disable_parallel_tool_use })
        }
        None | Some(ChatToolChoice::Other(Value::Null)) => None,
        Some(ChatToolChoice::Function { function, .. }) => {
            Some(ToolChoice::Tool { name: function.name, disable_parallel_tool_use })
        }
        Some(ChatToolChoice::Mode(mode)) => Some(of_mode(&mode, "tool_choice")?),
        Some(ChatToolChoice::Allowed { allowed_tools: AllowedTools { mode, tools: allowed }, .. }) => {
            for (at, AllowedTool { function, .. }) in allowed.iter().enumerate() {
                if !tools.iter().any(|tool| tool.name == function.name) {
                    let field = format!("tool_choice.allowed_tools.tools.{at}.function.name");
                    return Err(format!("{field}: there is no tool {}", function.name));
                }
            }
            tools.retain(|tool| allowed.iter().any(|allowed| allowed.function.name == tool.name));
            Some(of_mode(&mode, "tool_choice.allowed_tools.mode")?)
        }
        Some(ChatToolChoice::Other(other)) => {
            return Err(format!("tool_choice: {other} is none of none, auto, required, a function and allowed_tools"));
        }
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
            (json!({"messages": [], "n": 2}), "n: 2 is not supported"),
            (json!({"messages": [], "n": "1"}), "n: \"1\" is not supported"),
            (json!({"messages": [], "top_k": 1.5}), "top_k: 1.5 is not a number of tokens"),
            (json!({"messages": [], "top_k": "many"}), "top_k: \"many\" is not a number of tokens"),
            (json!({"messages": [], "tool_choice": "maybe"}), "tool_choice: maybe is none of"),
            (
                json!({"messages": [], "tool_choice": {"type": "custom", "custom": {"name": "x"}}}),
                "tool_choice: {\"type\":\"custom\"",
            ),
            (
                json!({"messages": [], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "Read"}}]}}}),
                "tool_choice.allowed_tools.tools.0.function.name: there is no tool Read",
            ),
            (json!({"messages": [], "functions": [{"name": "f"}]}), "functions: not supported: give the functions as tools"),
            (json!({"messages": [], "function_call": {"name": "f"}}), "function_call: not supported: use tool_choice"),
            (json!({"messages": [], "logit_bias": {"50256": -100}}), "logit_bias: not supported"),
            (json!({"messages": [], "modalities": ["text", "audio"]}), "modalities: [\"text\",\"audio\"] is not supported"),
            (
                json!({"messages": [{"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}}]}),
                "messages.0.function_call: not supported: give the call in tool_calls",
            ),
        ] {
            let error = convert(fields).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        let nothing = json!({"messages": [], "n": 1, "top_k": null, "functions": [], "function_call": "none", "logprobs": false,
            "top_logprobs": null, "logit_bias": {}, "modalities": ["text"], "audio": null, "tool_choice": null});
        assert_eq!(convert(nothing).unwrap(), convert(json!({"messages": []})).unwrap());
    }

    #[test]
    fn without_a_limit_the_answer_may_fill_the_context() {
        let limit = |fields: Value| convert(fields).unwrap().0["max_tokens"].as_u64().unwrap();
        let no_limit = u64::from(MessagesRequest::AS_MANY_AS_FIT);
        assert_eq!(limit(json!({"messages": []})), no_limit);
        assert_eq!(limit(json!({"messages": [], "max_tokens": -1})), no_limit);
        assert_eq!(limit(json!({"messages": [], "max_completion_tokens": -1, "max_tokens": 7})), 7);
        assert_eq!(limit(json!({"messages": [], "max_completion_tokens": 9, "max_tokens": 7})), 9);
        let refused = |limit: Value| serde_json::from_value::<ChatRequest>(json!({"messages": [], "max_tokens": limit}));
        for limit in [json!(-2), json!(1e9), json!(5_000_000_000_u64), json!("many")] {
            assert!(refused(limit.clone()).is_err(), "{limit}");
        }
    }

    #[test]
    fn allowed_tools_are_the_only_ones_offered() {
        let function = |name: &str| json!({"type": "function", "function": {"name": name}});
        let (request, _) = convert(json!({"messages": [], "tools": [function("Read"), function("Write"), function("Now")],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required",
                "tools": [function("Now"), function("Read")]}}}))
        .unwrap();
        let names: Vec<_> = request["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
        assert_eq!(names, ["Read", "Now"]);
        assert_eq!(request["tool_choice"], json!({"type": "any", "disable_parallel_tool_use": false}));
    }

    #[test]
    fn a_tools_output_may_be_nothing_or_an_image() {
        let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}});
        let (request, omitted) = convert(json!({"messages": [
            {"role": "tool", "tool_call_id": "a", "content": null}, {"role": "tool", "tool_call_id": "b"},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "See:"}, image]}]}))
        .unwrap();
        let results = request["messages"][0]["content"].as_array().unwrap();
        assert_eq!((&results[0]["content"], &results[1]["content"]), (&json!(""), &json!("")));
        assert_eq!(results[2]["content"][1]["source"]["media_type"], "image/png");
        assert_eq!(omitted, "");
    }

    #[test]
    fn instructions_alone_are_the_turn_to_answer() {
        let system = |text: &str| json!({"role": "system", "content": text});
        let (request, _) = convert(json!({"messages": [system("Be brief."), system("Say hi.")]})).unwrap();
        assert_eq!(request["system"], "Be brief.");
        assert_eq!(request["messages"], json!([{"role": "user", "content": "Say hi."}]));
    }

    #[test]
    fn the_samplers_fields_reach_the_engine() {
        let (request, omitted) =
            convert(json!({"messages": [], "seed": 7, "min_p": 0.1, "presence_penalty": 0.5, "frequency_penalty": 0.2})).unwrap();
        assert_eq!((&request["seed"], &request["min_p"], &request["presence_penalty"]), (&json!(7), &json!(0.1), &json!(0.5)));
        assert_eq!(omitted, "frequency_penalty");
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
