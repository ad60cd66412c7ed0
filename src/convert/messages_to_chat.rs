//! Converting a Messages request to a chat request.

use serde_json::{Map, Value, json};

use super::anthropic_tools::runnable;
use super::compaction::compacted;
use super::conversation::Conversation;
use super::{Dialect, Omitted, reasoning};
use crate::wire::openai::{
    CallKind, ChatRequest, ChatTool, ChatToolChoice, Function, NamedFunction, StopSequences, StreamOptions,
};
use crate::wire::{ENGINE_FIELDS, MessagesRequest, OutputFormat, Tool, ToolChoice};

/// A converted request.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    /// The chat request.
    pub request: ChatRequest,
    /// What the Messages request had and the chat request has not.
    pub omitted: Omitted,
}

/// Converts a request, to be answered by this model. The chat request always asks for a stream that reports its usage.
pub fn to_chat(request: &MessagesRequest, model: &str, dialect: Dialect) -> Converted {
    let request = &*compacted(request);
    let mut omitted = Omitted::default();
    let mut chat = ChatRequest {
        model: model.to_owned(),
        messages: Conversation::of(request, dialect, &mut omitted),
        tools: tools(request, &mut omitted),
        temperature: request.temperature,
        top_p: request.top_p,
        stop: (!request.stop_sequences.is_empty()).then(|| StopSequences::Many(request.stop_sequences.clone())),
        stream: true,
        stream_options: Some(StreamOptions { include_usage: true, ..StreamOptions::default() }),
        ..ChatRequest::default()
    };
    match dialect {
        Dialect::OpenAi => chat.max_completion_tokens = Some(request.max_tokens),
        _ => chat.max_tokens = Some(request.max_tokens),
    }
    match request.top_k {
        Some(top_k) if dialect.takes_sampling("top_k") => drop(chat.extra.insert("top_k".into(), json!(top_k))),
        Some(_) => omitted.add("top_k"),
        None => {}
    }
    // Many servers refuse a choice of tool without tools.
    if !chat.tools.is_empty()
        && let Some(choice) = &request.tool_choice
    {
        choose(&mut chat, choice, dialect);
    }
    reasoning::set(&mut chat, request, dialect, &mut omitted);
    extra_fields(&mut chat, request, dialect, &mut omitted);
    Converted { request: chat, omitted }
}

/// Converts the fields in the request's `extra`.
fn extra_fields(chat: &mut ChatRequest, request: &MessagesRequest, dialect: Dialect, omitted: &mut Omitted) {
    let mut extra = request.extra.clone();
    extra.remove("thinking");
    for field in ENGINE_FIELDS.into_iter().filter(|field| dialect.takes_sampling(field)) {
        chat.extra.extend(extra.remove_entry(field).filter(|(_, value)| !value.is_null()));
    }
    if let Ok(format) = OutputFormat::of(&extra) {
        extra.remove("output_format");
        if let Some(Value::Object(config)) = extra.get_mut("output_config") {
            config.remove("format");
        }
        if let Some(OutputFormat { schema, strict, .. }) = format {
            let mut named = json!({"name": "answer", "schema": schema});
            if let Some(strict) = strict {
                named["strict"] = json!(strict);
            }
            chat.extra.insert("response_format".into(), json!({"type": "json_schema", "json_schema": named}));
        }
    }
    if let Some(Value::Object(mut config)) = extra.remove("output_config") {
        config.remove("effort");
        omitted.fields("output_config", &config);
    }
    omitted.fields("", &extra);
}

/// The tools that the client runs, those included that the conversation adds. Those that Anthropic's servers run do not exist
/// elsewhere.
fn tools(request: &MessagesRequest, omitted: &mut Omitted) -> Vec<ChatTool> {
    let mut functions = Vec::new();
    for tool in runnable(request.after_tool_changes(request.tools.clone()), omitted) {
        let Tool { name, description, input_schema, mut extra } = tool;
        extra.remove("type");
        let strict = extra.remove("strict");
        omitted.fields("tools", &extra);
        let function = Function {
            name,
            description,
            parameters: Some(input_schema),
            extra: strict.map(|strict| ("strict".to_owned(), strict)).into_iter().collect(),
        };
        functions.push(ChatTool { kind: CallKind::Function, function, extra: Map::new() });
    }
    functions
}

fn choose(chat: &mut ChatRequest, choice: &ToolChoice, dialect: Dialect) {
    let mode = |name: &str| Some(ChatToolChoice::Mode(name.into()));
    let (chosen, one_only) = match choice {
        ToolChoice::Auto { disable_parallel_tool_use, .. } => (mode("auto"), *disable_parallel_tool_use),
        ToolChoice::Any { disable_parallel_tool_use, .. } => (mode("required"), *disable_parallel_tool_use),
        ToolChoice::Tool { name, disable_parallel_tool_use, .. } if dialect.takes_named_choice() => {
            let function = NamedFunction { name: name.clone(), extra: Map::new() };
            let choice = ChatToolChoice::Function { kind: CallKind::Function, function, extra: Map::new() };
            (Some(choice), *disable_parallel_tool_use)
        }
        // The dialect cannot name a tool: require a call and offer only this one. If there is none, the server is asked for a
        // call of any, as it would refuse an empty list.
        ToolChoice::Tool { name, disable_parallel_tool_use, .. } => {
            if chat.tools.iter().any(|tool| tool.function.name == *name) {
                chat.tools.retain(|tool| tool.function.name == *name);
            }
            (mode("required"), *disable_parallel_tool_use)
        }
        ToolChoice::None => (mode("none"), false),
    };
    chat.tool_choice = chosen;
    chat.parallel_tool_calls = one_only.then_some(false);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(fields: Value, dialect: Dialect) -> (Value, String) {
        let mut body = json!({"model": "claude-x", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 64});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let converted = to_chat(&serde_json::from_value(body).unwrap(), "local", dialect);
        (serde_json::to_value(converted.request).unwrap(), converted.omitted.to_string())
    }

    #[test]
    fn a_request_of_claude_code_keeps_its_meaning() {
        let tools = json!([
            {"name": "Read", "description": "Reads.", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
        ]);
        let (chat, omitted) = convert(
            json!({
                "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=1;"}, {"type": "text", "text": "Be brief."}],
                "tools": tools, "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
                "stop_sequences": ["END"], "temperature": 1.0, "top_k": 5, "stream": true,
                "metadata": {"user_id": "u"}, "context_management": {"edits": []},
            }),
            Dialect::Compatible,
        );
        assert_eq!(
            chat,
            json!({
                "model": "local",
                "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
                "tools": [{"type": "function", "function": {"name": "Read", "description": "Reads.", "parameters": {"type": "object"}}}],
                "tool_choice": "auto", "parallel_tool_calls": false,
                "max_tokens": 64, "temperature": 1.0, "stop": ["END"], "stream": true,
                "stream_options": {"include_usage": true}, "top_k": 5,
            })
        );
        assert_eq!(omitted, "cache_control, context_management, tools.web_search_20250305");
    }

    #[test]
    fn openai_itself_gets_its_own_names() {
        let (chat, omitted) = convert(json!({"top_k": 5}), Dialect::OpenAi);
        assert_eq!((&chat["max_completion_tokens"], &chat["max_tokens"]), (&json!(64), &Value::Null));
        assert_eq!(omitted, "top_k");
    }

    #[test]
    fn a_choice_of_tools_keeps_its_meaning() {
        let tools = json!([{"name": "Read", "input_schema": {}}, {"name": "Write", "input_schema": {}}]);
        let named = json!({"type": "function", "function": {"name": "Write"}});
        for (choice, dialect, expected, offered) in [
            (json!({"type": "auto"}), Dialect::OpenAi, json!("auto"), 2),
            (json!({"type": "any"}), Dialect::OpenAi, json!("required"), 2),
            (json!({"type": "none"}), Dialect::OpenAi, json!("none"), 2),
            (json!({"type": "tool", "name": "Write"}), Dialect::OpenAi, named, 2),
            (json!({"type": "tool", "name": "Write"}), Dialect::LmStudio, json!("required"), 1),
            (json!({"type": "tool", "name": "Unknown"}), Dialect::LmStudio, json!("required"), 2),
        ] {
            let (chat, _) = convert(json!({"tools": tools, "tool_choice": choice}), dialect);
            assert_eq!((&chat["tool_choice"], chat["tools"].as_array().unwrap().len()), (&expected, offered), "{choice}");
        }
        assert_eq!(convert(json!({"tool_choice": {"type": "none"}}), Dialect::OpenAi).0["tool_choice"], Value::Null);
    }

    #[test]
    fn a_schema_for_the_answer_is_a_response_format() {
        let schema = json!({"type": "object"});
        let (chat, omitted) =
            convert(json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}), Dialect::LmStudio);
        assert_eq!(chat["response_format"]["json_schema"]["schema"], schema);
        assert_eq!(omitted, "");
    }
}
