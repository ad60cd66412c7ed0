//! Answers of the embedded model that follow a schema. Its weights fill it with anything, but it is always filled.

use std::path::Path;

use anyclaude::trace::{self, messages_request, recorded_message};
use anyclaude::wire::{ContentBlock, Message};
use serde_json::{Value, json};

use crate::support::MODEL;
use crate::support::clients::{running_claude, sdk};
use crate::support::deadline::until;
use crate::support::http::post;
use crate::support::process::Running;
use crate::support::recorder::Recorder;
use crate::support::sandbox::{Sandbox, repository};
use crate::support::serving::Serving;

/// A schema whose every answer is short.
fn schema() -> Value {
    let item = json!({"type": "object", "properties": {"name": {"enum": ["apple", "pear"]}, "count": {"enum": [1, 2, 3]}},
        "required": ["name", "count"], "additionalProperties": false});
    json!({"type": "object", "properties": {"paid": {"type": "boolean"}, "first": item, "second": {"anyOf": [item, {"type": "null"}]}},
        "required": ["paid", "first", "second"], "additionalProperties": false})
}

#[track_caller]
fn assert_fits(answer: &str) {
    let parsed: Value = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    jsonschema::validate(&schema(), &parsed).unwrap_or_else(|error| panic!("{error}: {answer}"));
}

fn messages(more: Value) -> Value {
    let format = json!({"type": "json_schema", "schema": schema()});
    let mut body = json!({"model": "claude-opus-5-5", "max_tokens": 400, "output_config": {"format": format},
        "messages": [{"role": "user", "content": "Order an apple"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn chat(more: Value) -> Value {
    let format = json!({"type": "json_schema", "json_schema": {"name": "order", "schema": schema()}});
    let mut body = json!({"model": "gpt-9", "max_tokens": 400, "response_format": format,
        "messages": [{"role": "user", "content": "Order an apple"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The data of an SSE body's frames.
fn frames(body: &str) -> Vec<Value> {
    let data = body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// The texts at this place of the values, joined.
fn joined(values: &[Value], pointer: &str) -> String {
    values.iter().filter_map(|value| value.pointer(pointer)?.as_str()).collect()
}

#[test]
fn the_text_of_a_message_fits_the_schema() {
    let server = Serving::start(MODEL, &[]);
    let url = format!("{}/v1/messages", server.url);
    for temperature in [0, 1] {
        let whole = post(&url, &messages(json!({"temperature": temperature}))).succeeds().json();
        assert_eq!((&whole["stop_reason"], whole["content"].as_array().unwrap().len()), (&json!("end_turn"), 1), "{whole}");
        assert_fits(whole["content"][0]["text"].as_str().unwrap());
        let streamed = frames(&post(&url, &messages(json!({"temperature": temperature, "stream": true}))).succeeds().text);
        assert_fits(&joined(&streamed, "/delta/text"));
        assert_eq!(joined(&streamed, "/delta/stop_reason"), "end_turn");
    }
    let mut older = messages(json!({}));
    older["output_format"] = older["output_config"]["format"].take();
    assert_fits(post(&url, &older).succeeds().json()["content"][0]["text"].as_str().unwrap());
}

#[test]
fn the_text_of_a_completion_fits_the_schema() {
    let server = Serving::start(MODEL, &[]);
    let url = format!("{}/v1/chat/completions", server.url);
    for strict in [false, true] {
        let mut body = chat(json!({}));
        body["response_format"]["json_schema"]["strict"] = json!(strict);
        let whole = post(&url, &body).succeeds().json();
        assert_eq!(whole["choices"][0]["finish_reason"], "stop", "{whole}");
        assert_fits(whole["choices"][0]["message"]["content"].as_str().unwrap());
        body["stream"] = json!(true);
        assert_fits(&joined(&frames(&post(&url, &body).succeeds().text), "/choices/0/delta/content"));
    }
    let any = post(&url, &chat(json!({"response_format": {"type": "json_object"}, "temperature": 0}))).succeeds().json();
    let text = any["choices"][0]["message"]["content"].as_str().unwrap();
    match any["choices"][0]["finish_reason"].as_str() {
        Some("length") => assert!(text.starts_with('{'), "{any}"),
        _ => assert!(serde_json::from_str::<Value>(text).unwrap().is_object(), "{any}"),
    }
}

#[test]
fn an_answer_that_max_tokens_cuts_is_the_start_of_one() {
    let server = Serving::start(MODEL, &[]);
    let url = format!("{}/v1/messages", server.url);
    let whole = post(&url, &messages(json!({"temperature": 0}))).succeeds().json();
    let cut = post(&url, &messages(json!({"temperature": 0, "max_tokens": 5}))).succeeds().json();
    assert_eq!((&cut["stop_reason"], &cut["usage"]["output_tokens"]), (&json!("max_tokens"), &json!(5)));
    let [whole, cut] = [&whole, &cut].map(|message| message["content"][0]["text"].as_str().unwrap());
    assert!(cut.len() < whole.len() && whole.starts_with(cut), "{cut} is no start of {whole}");
}

#[test]
fn a_call_or_text_that_fits_is_all_that_can_come_where_there_are_tools() {
    let server = Serving::start(MODEL, &[]);
    let url = format!("{}/v1/messages", server.url);
    let place = json!({"type": "object", "properties": {"place": {"enum": ["shop", "market"]}}, "required": ["place"]});
    let tools = json!([{"name": "Look", "description": "Looks.", "input_schema": place, "strict": true}]);
    for temperature in [0, 1, 1, 1] {
        let body = messages(json!({"tools": tools, "temperature": temperature}));
        let answer = post(&url, &body).succeeds().json();
        for block in answer["content"].as_array().unwrap() {
            match block["type"].as_str().unwrap() {
                "text" => assert_fits(block["text"].as_str().unwrap()),
                _ => assert!(["shop", "market"].map(Value::from).contains(&block["input"]["place"]), "{answer}"),
            }
        }
        let stop = if answer["content"][0]["type"] == "text" { "end_turn" } else { "tool_use" };
        assert_eq!(answer["stop_reason"], stop, "{answer}");
    }
    let none = messages(json!({"tools": tools, "tool_choice": {"type": "none"}}));
    assert_fits(post(&url, &none).succeeds().json()["content"][0]["text"].as_str().unwrap());
    let forced = messages(json!({"tools": tools, "tool_choice": {"type": "any", "disable_parallel_tool_use": true}}));
    let forced = post(&url, &forced).succeeds().json();
    assert_eq!((&forced["content"][0]["name"], &forced["stop_reason"]), (&json!("Look"), &json!("tool_use")), "{forced}");
}

/// A server over the model with another text in one of its files.
fn changed_model(sandbox: &Sandbox, changed: &str, change: impl FnOnce(String) -> String) -> Serving {
    let model = repository(MODEL);
    let before = std::fs::read_to_string(model.join(changed)).unwrap();
    let after = change(before.clone());
    assert_ne!(after, before);
    sandbox.write(&format!("model/{changed}"), after);
    let files = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    for name in files.into_iter().filter(|name| *name != changed) {
        std::os::unix::fs::symlink(model.join(name), sandbox.path("model").join(name)).unwrap();
    }
    Serving::start(sandbox.path("model").to_str().unwrap(), &[])
}

#[test]
fn thoughts_before_the_text_are_free() {
    let sandbox = Sandbox::new();
    let opens_thoughts = |config: String| config.replace(r"<|im_start|>assistant\\n' if", r"<|im_start|>assistant\\n<think>' if");
    let server = changed_model(&sandbox, "tokenizer_config.json", opens_thoughts);
    // The model has not learned to think: it never closes its thoughts.
    let body = messages(json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 20, "temperature": 0}));
    let answer = post(&format!("{}/v1/messages", server.url), &body).succeeds().json();
    let [thoughts] = &answer["content"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!((&thoughts["type"], &answer["stop_reason"]), (&json!("thinking"), &json!("max_tokens")), "{answer}");
    assert!(!thoughts["thinking"].as_str().unwrap().starts_with('{'), "{answer}");
}

#[test]
fn what_cannot_be_enforced_is_refused_by_its_place() {
    let server = Serving::start(MODEL, &[]);
    let looks_ahead = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "^(?=x)y"}}});
    let refusal = |path: &str, body: &Value| {
        let reply = post(&format!("{}{path}", server.url), body);
        let error = &reply.json()["error"];
        format!("{} {}: {}\n", reply.status, error["type"].as_str().unwrap(), error["message"].as_str().unwrap())
    };
    let format = |format: Value| messages(json!({"output_config": {"format": format}}));
    let with_schema = |schema: &Value| format(json!({"type": "json_schema", "schema": schema}));
    let strict = |strict: bool| {
        let format = json!({"type": "json_schema", "json_schema": {"name": "a", "schema": looks_ahead, "strict": strict}});
        chat(json!({"response_format": format}))
    };
    let tool_of = |schema: &Value| json!({"tools": [{"name": "Look", "input_schema": schema, "strict": true}]});
    let function =
        json!({"tools": [{"type": "function", "function": {"name": "Look", "parameters": looks_ahead, "strict": true}}]});
    let refusals = [
        refusal("/v1/messages", &with_schema(&looks_ahead)),
        refusal("/v1/messages", &with_schema(&json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/gone"}}}))),
        refusal("/v1/messages", &with_schema(&json!({"type": "array", "items": {"type": "colour"}}))),
        refusal("/v1/messages", &with_schema(&json!("object"))),
        refusal("/v1/messages", &format(json!({"type": "yaml"}))),
        refusal("/v1/messages", &messages(tool_of(&looks_ahead))),
        refusal("/v1/chat/completions", &strict(true)),
        refusal("/v1/chat/completions", &chat(function)),
        refusal("/v1/chat/completions", &chat(json!({"response_format": {"type": "json_schema"}}))),
    ];
    let counted = [with_schema(&looks_ahead), messages(tool_of(&looks_ahead))];
    assert_eq!(counted.map(|body| refusal("/v1/messages/count_tokens", &body)), [refusals[0].clone(), refusals[5].clone()]);
    insta::assert_snapshot!(refusals.concat(), @r##"
    400 invalid_request_error: output_config.format.schema.properties.a: cannot be enforced: pattern "^(?=x)y"
    400 invalid_request_error: output_config.format.schema.properties.a.$ref: "#/$defs/gone" leads nowhere in this schema
    400 invalid_request_error: output_config.format.schema.items: Invalid type: colour
    400 invalid_request_error: output_config.format.schema: Input should be a valid dictionary
    400 invalid_request_error: output_config.format.type: Input should be 'json_schema' or 'text'
    400 invalid_request_error: tools.Look.input_schema.properties.a: cannot be enforced: pattern "^(?=x)y"
    400 invalid_request_error: response_format.json_schema.schema.properties.a: cannot be enforced: pattern "^(?=x)y"
    400 invalid_request_error: tools.0.function.parameters.properties.a: cannot be enforced: pattern "^(?=x)y"
    400 invalid_request_error: response_format.json_schema.schema: is not an object
    "##);
    assert_eq!(post(&format!("{}/v1/chat/completions", server.url), &strict(false)).status, 200);
}

#[test]
fn the_typed_helpers_of_the_sdks_get_their_objects() {
    let server = Serving::start(MODEL, &[]);
    for script in ["parsed.py", "parsed.cjs"] {
        let report = sdk(script, &server.url);
        for way in ["messages", "beta", "streamed", "chat", "chat_streamed", "responses", "responses_streamed"] {
            assert_fits(&report[way].to_string());
        }
    }
}

#[test]
fn frameworks_get_their_typed_objects_in_their_default_way_and_in_the_other() {
    let server = Serving::start(MODEL, &[]);
    for (script, other_way) in [("typed.py", "_native"), ("typed.cjs", "_output")] {
        let report = sdk(script, &server.url);
        for protocol in ["messages", "chat", "responses"] {
            assert_fits(&report[protocol].to_string());
            assert_fits(&report[format!("{protocol}{other_way}")].to_string());
        }
    }
}

#[test]
fn a_prompt_hook_of_claude_code_gets_its_decision() {
    let sandbox = Sandbox::new();
    // The model repeats itself without end inside a string; at this temperature it does not.
    let heated = |config: String| config.replace(r#""do_sample": false"#, r#""do_sample": true, "temperature": 4.0"#);
    let server = changed_model(&sandbox, "generation_config.json", heated);
    let hook = json!({"type": "prompt", "prompt": "Is this harmless? $ARGUMENTS", "timeout": 30});
    let settings = json!({"hooks": {"UserPromptSubmit": [{"hooks": [hook]}]}});
    sandbox.write(".claude/settings.json", settings.to_string());
    let recorder = Recorder::start(&server.url);
    // What comes after the hook does not matter, and takes long: the client is not waited for.
    let _claude = Running::start(&mut running_claude(&sandbox, &recorder.address, &["-p", "Say hello"]));
    let message = until("the hook's answer", || recorder.files().iter().find_map(|file| answer_with_format(file)));
    let [ContentBlock::Text { text, .. }] = &message.content[..] else { panic!("{message:?}") };
    assert!(serde_json::from_str::<Value>(text).unwrap()["ok"].is_boolean(), "{text}");
}

/// The message of a finished trace whose request has a format.
fn answer_with_format(file: &Path) -> Option<Message> {
    let trace = trace::read(file).ok().filter(|_| file.extension().is_some_and(|extension| extension == "json"))?;
    let config = messages_request(&trace)?.extra.remove("output_config")?;
    config["format"].is_object().then(|| recorded_message(&trace))?
}
