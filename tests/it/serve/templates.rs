//! Conversations with calls under every chat template of our own, on a live server.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::MODEL;
use crate::support::http::post;
use crate::support::output::warnings_of;
use crate::support::sandbox::{Sandbox, repository};
use crate::support::serving::Serving;

/// A folder in the sandbox with the tiny model and this chat template.
fn with_template(sandbox: &Sandbox, template: &Path) -> String {
    let name = template.file_stem().unwrap().display();
    for file in fs::read_dir(MODEL).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        sandbox.write(&format!("{name}/{}", file.file_name().unwrap().display()), fs::read(&file).unwrap());
    }
    sandbox.write(&format!("{name}/chat_template.jinja"), fs::read(template).unwrap());
    sandbox.path(&name.to_string()).display().to_string()
}

/// A request that has to be answered with one call.
fn forced_call(messages: &[Value]) -> Value {
    json!({
        "model": "claude-opus-5-5", "max_tokens": 200, "temperature": 0, "system": "You look after trees.",
        "tools": [{"name": "fell_tree", "description": "Fells one.", "input_schema": {"type": "object", "properties": {
            "tree": {"type": "string", "enum": ["oak", "fir"]}, "age": {"type": "integer", "enum": [31, 32]}},
            "required": ["tree", "age"], "additionalProperties": false}}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true}, "messages": messages
    })
}

/// The only call of the answer, which has to be valid.
fn only_call(template: &str, answer: &Value) -> Value {
    assert_eq!(answer["stop_reason"], "tool_use", "{template}: {answer}");
    let [call] = &answer["content"].as_array().unwrap()[..] else { panic!("{template}: {answer}") };
    let input = &call["input"];
    assert_eq!((&call["name"], input.as_object().unwrap().len()), (&json!("fell_tree"), 2), "{template}: {answer}");
    assert!(["oak", "fir"].contains(&input["tree"].as_str().unwrap()), "{template}: {answer}");
    assert!([31, 32].contains(&input["age"].as_u64().unwrap()), "{template}: {answer}");
    call.clone()
}

#[test]
fn a_call_its_result_and_another_call_go_through_every_template() {
    let sandbox = Sandbox::new();
    for file in fs::read_dir(repository("fixtures/templates")).unwrap().map(|entry| entry.unwrap().path()) {
        let server = Serving::start(&with_template(&sandbox, &file), &[]);
        let template = file.file_stem().unwrap().to_str().unwrap();
        let answer = |messages: &[Value]| {
            let answer = post(&format!("{}/v1/messages", server.url), &forced_call(messages)).json();
            assert_eq!(answer["type"], "message", "{template}: {answer}");
            answer
        };
        let mut messages = vec![json!({"role": "user", "content": "Fell the oak."})];
        let first = answer(&messages);
        let call = only_call(template, &first);
        let result = json!({"type": "tool_result", "tool_use_id": call["id"], "content": "It fell."});
        messages.push(json!({"role": "assistant", "content": first["content"]}));
        // Claude Code puts text beside results, and system messages between turns.
        messages.push(json!({"role": "user", "content": [result, {"type": "text", "text": "Now the fir."}]}));
        messages.push(json!({"role": "system", "content": "The fir is old."}));
        let second = answer(&messages);
        let next = only_call(template, &second);
        assert_ne!(call["id"], next["id"], "{template}");
        let said = server.stop("TERM").stderr;
        let warnings = warnings_of(&said);
        if ["calls-in-other-tags", "no-system-and-no-tools"].contains(&template) {
            insta::allow_duplicates! { insta::assert_snapshot!(warnings, @"the chat template writes no calls in a format that is known: they are written as hermes, unless the tool format is set") }
        } else {
            assert_eq!(warnings, "", "{template}");
        }
    }
}
