//! Converting a Responses request to a Messages request.

use serde_json::{Map, Value, json};

use super::openai_common::{any_object_format, is_of_the_engine, schema_format, top_k};
use super::responses_items::add_item;
use super::responses_tools::{ClientNames, OfferedResponsesTools};
use super::turns::ConversationBuilder;
use super::{FieldNames, Omitted, logprobs};
use crate::wire::openai::responses::{Input, ResponsesRequest};
use crate::wire::{Content, MessagesRequest, Role, System, Via};

/// A Responses request, converted.
#[derive(Clone, Debug, PartialEq)]
pub struct FromResponses {
    /// The same request in the Messages protocol.
    pub request: MessagesRequest,
    /// The fields, items and tools that have no counterpart.
    pub omitted: Omitted,
    /// The settings that the answer repeats.
    pub settings: Map<String, Value>,
    /// What the client calls its tools.
    pub names: ClientNames,
    /// What the client calls its fields.
    pub fields: FieldNames,
}

/// The fields whose names differ, beside the tools.
const FIELDS: &[(&str, &str)] = &[
    ("messages:", "input:"),
    ("output_config.format", "text.format"),
    ("output_config.effort", "reasoning.effort"),
    ("max_tokens", "max_output_tokens"),
    ("logprobs", "top_logprobs"),
];

/// Converts a request.
///
/// # Errors
/// One sentence that names the field: it asks for what only OpenAI's servers can do, or has a value that means nothing.
pub fn from_responses(responses: ResponsesRequest) -> Result<FromResponses, String> {
    let settings = settings(&responses);
    let mut omitted = Omitted::default();
    let mut extra = responses.extra;
    refuse(&extra)?;
    let top_k = top_k(&mut extra)?;
    let top_logprobs = logprobs::asked_by_responses(&mut extra)?;
    let (mut counterparts, unknown): (Map<_, _>, Map<_, _>) =
        extra.into_iter().filter(|(name, value)| !means_nothing_here(name, value)).partition(|(name, _)| is_of_the_engine(name));
    omitted.fields("", &unknown);

    let mut turns =
        ConversationBuilder { system: Vec::from_iter(responses.instructions.clone()), ..ConversationBuilder::default() };
    match responses.input {
        Input::Text(text) => turns.push(Role::User, Content::Text(text)),
        Input::Items(items) => {
            for (at, item) in items.into_iter().enumerate() {
                add_item(&mut turns, item, &mut omitted).map_err(|reason| format!("input.{at}: {reason}"))?;
            }
        }
    }
    // `instructions` alone are no turn.
    if turns.system.len() > usize::from(responses.instructions.is_some()) {
        turns.answer_instructions();
    }
    if turns.messages.is_empty() {
        return Err("input: at least one message is required".into());
    }

    let mut config = Map::new();
    if let Some(reasoning) = responses.reasoning {
        omitted.fields("reasoning", &reasoning.extra);
        match reasoning.effort.as_deref() {
            None => {}
            Some("none") => drop(counterparts.insert("thinking".into(), json!({"type": "disabled"}))),
            Some(effort) => drop(config.insert("effort".into(), json!(effort))),
        }
    }
    if let Some(text) = responses.text {
        omitted.fields("text", &text.extra);
        let format = text.format.as_ref().map(|format| output_format(format, &mut omitted)).transpose()?.flatten();
        config.extend(format.map(|format| ("format".to_owned(), format)));
    }
    if !config.is_empty() {
        counterparts.insert("output_config".into(), Value::Object(config));
    }

    let mut offered = OfferedResponsesTools::of(responses.tools, &mut omitted);
    let tool_choice = offered.choose(responses.tool_choice, responses.parallel_tool_calls)?;
    let names = offered.tools.iter().map(|tool| tool.name.clone());
    let fields = FieldNames { tools: names.zip(offered.paths).collect(), others: FIELDS.to_vec() };
    let request = MessagesRequest {
        model: responses.model,
        messages: turns.messages,
        system: (!turns.system.is_empty()).then(|| System::Text(turns.system.join("\n\n"))),
        tools: offered.tools,
        tool_choice,
        max_tokens: responses.max_output_tokens.unwrap_or(MessagesRequest::AS_MANY_AS_FIT),
        temperature: responses.temperature,
        top_p: responses.top_p,
        top_k,
        stop_sequences: Vec::new(),
        stream: responses.stream,
        top_logprobs,
        via: Via::default(),
        extra: counterparts,
    };
    Ok(FromResponses { request, omitted, settings, names: offered.names, fields })
}

/// Refuses what cannot be done and would change the answer's meaning.
fn refuse(extra: &Map<String, Value>) -> Result<(), String> {
    let given = |field: &str| extra.get(field).filter(|value| !value.is_null());
    let kept = "nothing is kept between requests: send the whole conversation as input";
    for (field, reason) in [
        ("previous_response_id", kept),
        ("conversation", kept),
        ("prompt", "prompts are kept at OpenAI: send the text itself as input"),
    ] {
        if given(field).is_some() {
            return Err(format!("{field}: {reason}"));
        }
    }
    if given("background").is_some_and(|value| *value != false) {
        return Err("background: answers are not kept to be fetched later: leave it out".into());
    }
    Ok(())
}

/// Whether a field only repeats the default, or was read already.
fn means_nothing_here(name: &str, value: &Value) -> bool {
    match name {
        // Nothing is ever stored, so either value gets the same.
        "store" | "background" => true,
        "truncation" => value == "disabled",
        "service_tier" => value == "auto" || value == "default",
        // All thoughts are in the answer, and in clear.
        "include" => value.as_array().is_some_and(|names| names.iter().all(|name| name == "reasoning.encrypted_content")),
        // Padding that hides lengths from eavesdroppers.
        "stream_options" => value.as_object().is_some_and(|options| options.keys().all(|key| key == "include_obfuscation")),
        _ => false,
    }
}

/// The counterpart of `text.format`; none for plain text.
fn output_format(format: &Value, omitted: &mut Omitted) -> Result<Option<Value>, String> {
    if let Some(fields) = format.as_object() {
        // The name says nothing.
        omitted.unread("text.format", fields, &["type", "name", "schema", "strict"]);
    }
    match format["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(any_object_format())),
        Some("json_schema") => schema_format(&format["schema"], &format["strict"], "text.format.schema").map(Some),
        _ => Err(format!("text.format.type: {} is none of text, json_object and json_schema", format["type"])),
    }
}

/// The request's settings as the answer repeats them. Clients rely on some of them being there.
fn settings(responses: &ResponsesRequest) -> Map<String, Value> {
    let ResponsesRequest { instructions, tools, tool_choice, parallel_tool_calls, text, reasoning, .. } = responses;
    let settings = json!({
        "background": false,
        "instructions": instructions,
        "max_output_tokens": responses.max_output_tokens,
        "metadata": responses.metadata.clone().unwrap_or_default(),
        "parallel_tool_calls": parallel_tool_calls.unwrap_or(true),
        "previous_response_id": null,
        "reasoning": reasoning.clone().unwrap_or_default(),
        "store": false,
        "temperature": responses.temperature.and_then(as_written),
        "text": text.as_ref().map_or_else(|| json!({"format": {"type": "text"}}), |text| json!(text)),
        "tool_choice": tool_choice.as_ref().map_or_else(|| json!("auto"), |choice| json!(choice)),
        "tools": tools,
        "top_logprobs": responses.extra.get("top_logprobs").and_then(Value::as_u64).unwrap_or(0),
        "top_p": responses.top_p.and_then(as_written),
        "truncation": "disabled",
    });
    match settings {
        Value::Object(settings) => settings,
        _ => Map::new(),
    }
}

/// The number with the few digits that it was sent with.
fn as_written(number: f32) -> Option<f64> {
    number.to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(responses: Value) -> Result<FromResponses, String> {
        from_responses(serde_json::from_value(responses).unwrap())
    }

    #[test]
    fn minus_one_is_no_limit() {
        let limit = |limit: Value| convert(json!({"input": "a", "max_output_tokens": limit})).unwrap().request.max_tokens;
        assert_eq!([json!(null), json!(-1), json!(7)].map(limit), [u32::MAX, u32::MAX, 7]);
    }

    #[test]
    fn a_conversation_with_calls_and_an_image_keeps_its_meaning() {
        let converted = convert(json!({
            "model": "m", "max_output_tokens": 64, "temperature": 0.7, "stream": true, "seed": 7, "store": true,
            "reasoning": {"effort": "low", "summary": "auto"}, "parallel_tool_calls": false, "tool_choice": "required",
            "instructions": "Be brief.", "metadata": {"run": "1"}, "user": "ann", "truncation": "disabled",
            "include": ["reasoning.encrypted_content"], "stream_options": {"include_obfuscation": false},
            "tools": [{"type": "function", "name": "Read", "parameters": {"type": "object"}}, {"type": "custom", "name": "patch"},
                      {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "list"}]}],
            "text": {"format": {"type": "json_schema", "name": "order", "schema": {"type": "object"}, "strict": true}, "verbosity": "low"},
            "input": [
                {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "You work in /tmp."}]},
                {"role": "user", "content": [{"type": "input_text", "text": "Look:"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
                    {"type": "input_image", "file_id": "file_1"}]},
                {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
                {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "x"},
                {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                 "content": [{"type": "output_text", "text": "Reading.", "annotations": []}]},
                {"type": "function_call", "call_id": "c1", "name": "Read", "arguments": "{\"path\":\"a\"}"},
                {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "+ a"},
                {"type": "function_call", "call_id": "c3", "namespace": "mcp", "name": "list", "arguments": "{\"pat"},
                {"type": "function_call_output", "call_id": "c1", "output": "A"},
                {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "done"}]},
                {"type": "function_call_output", "call_id": "c3", "output": ""},
                {"type": "web_search_call", "id": "ws_1", "status": "completed"},
                {"role": "system", "content": "Hurry."},
                {"role": "user", "content": "Go on."},
            ],
        }));
        let FromResponses { request, omitted, settings, .. } = converted.unwrap();
        let result = |id: &str, content: Value| json!({"type": "tool_result", "tool_use_id": id, "content": content});
        let request = serde_json::to_value(request).unwrap();
        assert_eq!(
            request["messages"],
            json!([
                {"role": "user", "content": [
                    {"type": "text", "text": "Look:"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
                    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="}, "title": "a.pdf"},
                    {"type": "text", "text": "[a file, which this model cannot read]"}]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": ""},
                    {"type": "text", "text": "Reading."},
                    {"type": "tool_use", "id": "c1", "name": "Read", "input": {"path": "a"}},
                    {"type": "tool_use", "id": "c2", "name": "patch", "input": {"input": "+ a"}},
                    {"type": "tool_use", "id": "c3", "name": "mcp__list", "input": {"arguments": "{\"pat"}}]},
                {"role": "user", "content": [
                    result("c1", json!("A")), result("c2", json!([{"type": "text", "text": "done"}])), result("c3", json!(""))]},
                {"role": "system", "content": "Hurry."},
                {"role": "user", "content": "Go on."},
            ])
        );
        assert_eq!(request["system"], "Be brief.\n\nYou work in /tmp.");
        assert_eq!(request["tool_choice"], json!({"type": "any", "disable_parallel_tool_use": true}));
        let format = json!({"type": "json_schema", "schema": {"type": "object"}, "strict": true});
        assert_eq!(request["output_config"], json!({"effort": "low", "format": format}));
        assert_eq!((&request["max_tokens"], &request["stream"], &request["seed"]), (&json!(64), &json!(true), &json!(7)));
        assert_eq!(
            omitted.names().collect::<Vec<_>>(),
            [
                "a file kept at OpenAI (file_id)",
                "function_call.arguments (no JSON object: kept as text)",
                "input.web_search_call",
                "input_image.detail",
                "reasoning.encrypted_content",
                "reasoning.summary",
                "text.verbosity"
            ]
        );
        assert_eq!((&settings["temperature"], &settings["metadata"]["run"]), (&json!(0.7), &json!("1")));
        assert_eq!((&settings["store"], &settings["tools"][2]["name"]), (&json!(false), &json!("mcp")));
    }

    #[test]
    fn what_only_openais_servers_can_do_is_refused_by_its_field() {
        let input = json!([{"role": "user", "content": "Hi"}]);
        let refused = [
            json!({"input": input, "previous_response_id": "resp_1"}),
            json!({"input": input, "conversation": "conv_1"}),
            json!({"input": input, "prompt": {"id": "pmpt_1"}}),
            json!({"input": input, "background": true}),
            json!({"input": input, "top_logprobs": 21}),
            json!({"input": [{"type": "item_reference", "id": "msg_1"}]}),
            json!({"input": []}),
            json!({"input": input, "text": {"format": {"type": "yaml"}}}),
            json!({"input": input, "text": {"format": {"type": "json_schema", "name": "a"}}}),
            json!({"input": input, "tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}),
        ];
        let reasons = refused.map(|body| convert(body).unwrap_err());
        insta::assert_snapshot!(reasons.join("\n"), @r#"
        previous_response_id: nothing is kept between requests: send the whole conversation as input
        conversation: nothing is kept between requests: send the whole conversation as input
        prompt: prompts are kept at OpenAI: send the text itself as input
        background: answers are not kept to be fetched later: leave it out
        top_logprobs: 21 is not a whole number from 0 to 20
        input.0: nothing is kept between requests: send the item itself
        input: at least one message is required
        text.format.type: "yaml" is none of text, json_object and json_schema
        text.format.schema: is not an object
        tool_choice.type: web_search is a tool that OpenAI's servers run, so this model cannot call it
        "#);
        let nothing = json!({"input": input, "previous_response_id": null, "background": false, "top_logprobs": 0, "include": [],
            "store": null, "conversation": null, "prompt": null});
        assert!(convert(nothing).unwrap().omitted.is_empty());
    }

    #[test]
    fn errors_have_the_clients_names_for_fields() {
        let tools =
            json!([{"type": "web_search"}, {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "list"}]}]);
        let fields = convert(json!({"input": "Hi", "tools": tools})).unwrap().fields;
        for (message, expected) in [
            ("tools.0.input_schema.properties.a: no", "tools.1.tools.0.parameters.properties.a: no"),
            ("tools.n__list.input_schema.properties.a: no", "tools.1.tools.0.parameters.properties.a: no"),
            ("tools.0.custom.name: no", "tools.1.tools.0.name: no"),
            ("tools.7.input_schema: no", "tools.7.input_schema: no"),
            ("output_config.format.schema.items: no", "text.format.schema.items: no"),
            ("logprobs: no", "top_logprobs: no"),
            ("busy", "busy"),
        ] {
            assert_eq!(fields.in_error(message.into()), expected);
        }
    }
}
