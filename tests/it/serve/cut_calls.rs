//! Tool calls of the embedded model that `max_tokens` cuts: nobody takes half a command for a whole one.

use serde_json::{Value, json};

use crate::support::MODEL;
use crate::support::clients::running_claude;
use crate::support::http::post;
use crate::support::process::run;
use crate::support::sandbox::Sandbox;
use crate::support::serving::Serving;

/// A forced call of Bash whose command the request spells out.
fn forced_command(max_tokens: u64, stream: bool) -> Value {
    json!({
        "model": "claude-opus-5-5", "max_tokens": max_tokens, "temperature": 0, "stream": stream,
        "tools": [{"name": "Bash", "description": "Runs a command.", "input_schema": {"type": "object", "properties": {
            "command": {"type": "string"}, "description": {"type": "string"}}, "required": ["command", "description"]}}],
        "tool_choice": {"type": "tool", "name": "Bash"},
        "messages": [{"role": "user", "content": "Run `rm -rf /home/user/project/build/cache` and tell me what it prints"}]
    })
}

#[test]
fn a_command_that_max_tokens_cuts_is_not_made_whole() {
    let server = Serving::start(MODEL, &[]);
    let post = |path: &str, body: Value| post(&format!("{}{path}", server.url), &body);
    for max_tokens in [1, 12, 20, 24, 28] {
        let events = post("/v1/messages", forced_command(max_tokens, true)).text;
        let data = events.lines().filter_map(|line| line.strip_prefix("data: "));
        let events: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
        let said: String = events.iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
        assert!(serde_json::from_str::<Value>(&said).is_err(), "{max_tokens}: {said} is whole");
        let end = events.iter().find(|event| event["type"] == "message_delta").unwrap();
        assert_eq!((&end["delta"]["stop_reason"], &end["usage"]["output_tokens"]), (&json!("max_tokens"), &json!(max_tokens)));
        assert_eq!(max_tokens > 12, said.contains("rm -rf"), "{max_tokens}: {said}");

        let whole = post("/v1/messages", forced_command(max_tokens, false)).json();
        assert_eq!((&whole["stop_reason"], &whole["usage"]["output_tokens"]), (&json!("max_tokens"), &json!(max_tokens)));
        let inputs: Vec<&Value> = whole["content"].as_array().unwrap().iter().map(|block| &block["input"]).collect();
        assert_eq!(inputs, vec![&json!({}); usize::from(!said.is_empty())], "half a command is no argument");

        let mut chat = forced_command(max_tokens, false);
        let schema = chat["tools"][0]["input_schema"].take();
        let function = json!({"name": "Bash", "description": "Runs a command.", "parameters": schema});
        chat["tools"] = json!([{"type": "function", "function": function}]);
        chat["tool_choice"] = json!({"type": "function", "function": {"name": "Bash"}});
        let chat = post("/v1/chat/completions", chat).json();
        let choice = &chat["choices"][0];
        assert_eq!(choice["finish_reason"], "length", "{chat}");
        assert_eq!(choice["message"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap_or_default(), said);
    }
}

#[test]
fn a_call_that_lacks_only_its_end_is_no_whole_call_either() {
    let server = Serving::start(MODEL, &[]);
    let ask = |max_tokens: u64, stream: bool| {
        let body = json!({"model": "m", "max_output_tokens": max_tokens, "temperature": 0, "stream": stream, "input": "Run now",
            "tools": [{"type": "function", "name": "Now", "parameters": {"type": "object", "properties": {}}}],
            "tool_choice": {"type": "function", "name": "Now"}});
        post(&format!("{}/v1/responses", server.url), &body)
    };
    let whole = ask(50, false).json();
    let needed = whole["usage"]["output_tokens"].as_u64().unwrap();
    assert_eq!((&whole["status"], &whole["output"][0]["arguments"]), (&json!("completed"), &json!("{}")));
    for max_tokens in 1..needed {
        let whole = ask(max_tokens, false).json();
        let streamed = ask(max_tokens, true).text;
        let data = streamed.lines().filter_map(|line| line.strip_prefix("data: "));
        let events: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
        let last = &events.last().unwrap()["response"];
        assert_eq!((&whole["status"], &last["status"]), (&json!("incomplete"), &json!("incomplete")), "{max_tokens}");
        let arguments = |response: &Value| {
            let calls = response["output"].as_array().unwrap().iter().map(|item| item["arguments"].as_str().unwrap().to_owned());
            calls.collect::<Vec<_>>()
        };
        assert_eq!(arguments(&whole), arguments(last), "{max_tokens}");
        // With all but the token that ends the answer, the call itself has ended.
        let has_ended = max_tokens + 1 == needed;
        match has_ended {
            true => assert_eq!(arguments(&whole), ["{}"]),
            false => assert!(arguments(&whole).iter().all(|said| said != "{}"), "{max_tokens} of {needed}: {whole}"),
        }
    }
}

#[test]
fn claude_code_runs_nothing_of_a_command_that_was_cut() {
    let (server, sandbox) = (Serving::start(MODEL, &[]), Sandbox::new());
    let arguments =
        ["-p", "Run `mkdir -p first/second/third/fourth/fifth/sixth`", "--allowedTools", "Bash", "--output-format", "json"];
    let ran = run(running_claude(&sandbox, &server.url, &arguments).env("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "30"));
    let result: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    assert_eq!(sandbox.files(""), [""; 0], "part of the command was run: {result}");
    assert_eq!(result["is_error"], true, "{result}");
}
