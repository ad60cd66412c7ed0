//! Converting a chat request to a Messages request.

mod conversation;
mod tools;

use serde_json::{Map, Value, json};

use self::conversation::conversation;
use self::tools::OfferedChatTools;
use super::openai_common::{any_object_format, schema_format, stop_sequences, top_k};
use super::{FieldNames, Omitted, logprobs};
use crate::wire::openai::ChatRequest;
use crate::wire::{ENGINE_FIELDS, MessagesRequest, System, Via};

/// A chat request, converted.
#[derive(Clone, Debug, PartialEq)]
pub struct FromChat {
    /// The same request in the Messages protocol.
    pub request: MessagesRequest,
    /// The fields that have no counterpart.
    pub omitted: Omitted,
    /// What the client calls its fields.
    pub fields: FieldNames,
}

/// The fields whose names differ, beside the tools.
const FIELDS: &[(&str, &str)] = &[
    ("output_config.format.schema", "response_format.json_schema.schema"),
    ("output_config.format", "response_format"),
    ("output_config.effort", "reasoning_effort"),
    ("stop_sequences", "stop"),
];

/// Fields with which a client asks for something else than it would get if they were left out.
const REFUSED: [(&str, &str); 5] = [
    ("functions", "give the functions as tools"),
    ("function_call", "use tool_choice"),
    ("logit_bias", "the likelihood of single tokens cannot be changed"),
    ("audio", "answers are text"),
    ("web_search_options", "this server does not search the web"),
];

/// Converts a request.
///
/// # Errors
/// One sentence that names the field: its value makes no sense, or no backend here can do what it asks for.
pub fn from_chat(chat: ChatRequest) -> Result<FromChat, String> {
    let mut omitted = Omitted::default();
    let mut extra = chat.extra;
    refuse_fields(&mut extra)?;
    let top_k = top_k(&mut extra)?;
    let top_logprobs = logprobs::asked_by_chat(&mut extra)?;
    let counterparts = counterparts(&mut extra, chat.reasoning_effort, &mut omitted)?;
    omitted.fields("", &extra);
    if let Some(options) = &chat.stream_options {
        omitted.fields("stream_options", &options.extra);
    }
    let mut turns = conversation(chat.messages, &mut omitted)?;
    turns.answer_instructions();
    let mut offered = OfferedChatTools::of(chat.tools, &mut omitted);
    let tool_choice = offered.choose(chat.tool_choice, chat.parallel_tool_calls)?;
    let paths = offered.indices.iter().map(|index| format!("tools.{index}.function"));
    let names = offered.tools.iter().map(|tool| tool.name.clone());
    let mut fields = FieldNames { tools: names.zip(paths).collect(), others: FIELDS.to_vec() };
    if chat.max_completion_tokens.is_some() {
        fields.others.push(("max_tokens", "max_completion_tokens"));
    }
    let request = MessagesRequest {
        model: chat.model,
        messages: turns.messages,
        system: (!turns.system.is_empty()).then(|| System::Text(turns.system.join("\n\n"))),
        tool_choice,
        tools: offered.tools,
        max_tokens: chat.max_completion_tokens.or(chat.max_tokens).unwrap_or(MessagesRequest::AS_MANY_AS_FIT),
        temperature: chat.temperature,
        top_p: chat.top_p,
        top_k,
        stop_sequences: stop_sequences(chat.stop),
        stream: chat.stream,
        top_logprobs,
        via: Via::default(),
        extra: counterparts,
    };
    Ok(FromChat { request, omitted, fields })
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
            // An empty object is how a client asks for OpenAI's web search.
            Value::Object(fields) => fields.is_empty() && name != "web_search_options",
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        // Some clients always send the field, with "none" where they do not use it.
        if extra.remove(name).is_some_and(|value| !asks_for_nothing(&value) && value != "none") {
            return Err(format!("{name}: not supported: {instead}"));
        }
    }
    Ok(())
}

/// Takes the fields from `extra` whose counterparts belong in [`MessagesRequest::extra`].
fn counterparts(
    extra: &mut Map<String, Value>,
    effort: Option<String>,
    omitted: &mut Omitted,
) -> Result<Map<String, Value>, String> {
    let mut fields = Map::new();
    fields.extend(ENGINE_FIELDS.iter().filter_map(|name| extra.remove_entry(*name)).filter(|(_, value)| !value.is_null()));
    let mut config = Map::new();
    match effort.as_deref() {
        None => {}
        Some("none") => drop(fields.insert("thinking".into(), json!({"type": "disabled"}))),
        Some(effort) => drop(config.insert("effort".into(), json!(effort))),
    }
    let format = extra.remove("response_format").map(|format| output_format(&format, omitted)).transpose()?.flatten();
    config.extend(format.map(|format| ("format".to_owned(), format)));
    if !config.is_empty() {
        fields.insert("output_config".into(), Value::Object(config));
    }
    Ok(fields)
}

/// The counterpart of `response_format`; none for plain text.
fn output_format(format: &Value, omitted: &mut Omitted) -> Result<Option<Value>, String> {
    if let Some(fields) = format.as_object() {
        omitted.unread("response_format", fields, &["type", "json_schema"]);
    }
    match format["type"].as_str() {
        None if format.is_null() => Ok(None),
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(any_object_format())),
        Some("json_schema") => {
            let named = &format["json_schema"];
            if let Some(fields) = named.as_object() {
                // The name says nothing.
                omitted.unread("response_format.json_schema", fields, &["name", "schema", "strict"]);
            }
            schema_format(&named["schema"], &named["strict"], "response_format.json_schema.schema").map(Some)
        }
        _ => Err(format!("response_format.type: {} is none of text, json_object and json_schema", format["type"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(chat: Value) -> Result<(Value, String), String> {
        let FromChat { request, omitted, .. } = from_chat(serde_json::from_value(chat).unwrap())?;
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
        for (fields, expected) in [
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
    fn a_call_that_was_cut_and_a_bare_file_end_no_session() {
        let (request, omitted) = convert(json!({"messages": [
            {"role": "user", "content": [{"type": "file", "file": {"filename": "a.pdf", "file_data": "JVBERi0="}}]},
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "Read", "arguments": "{\"pat"}}]}]}))
        .unwrap();
        let file = &request["messages"][0]["content"][0];
        assert_eq!((&file["title"], &file["source"]["data"]), (&json!("a.pdf"), &json!("JVBERi0=")));
        assert_eq!(request["messages"][1]["content"][0]["input"], json!({"arguments": "{\"pat"}));
        assert_eq!(omitted, "tool_calls.function.arguments (no JSON object: kept as text)");
    }

    #[test]
    fn an_error_names_the_field_as_the_client_wrote_it() {
        let function = |name: &str| json!({"type": "function", "function": {"name": name}});
        let chat = json!({"messages": [], "tools": [function("Read"), function("Now")], "tool_choice": {"type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [function("Now")]}}});
        let fields = from_chat(serde_json::from_value(chat).unwrap()).unwrap().fields;
        for (ours, theirs) in [
            ("tools.0.custom.name: no", "tools.1.function.name: no"),
            ("output_config.format.schema.properties: no", "response_format.json_schema.schema.properties: no"),
            ("output_config.format.type: no", "response_format.type: no"),
        ] {
            assert_eq!(fields.in_error(ours.into()), theirs);
        }
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
        let FromChat { request, omitted, .. } = from_chat(there.request).unwrap();
        assert_eq!(serde_json::to_value(request).unwrap(), original);
        assert!(omitted.is_empty());
    }
}
