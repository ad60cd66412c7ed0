//! `POST /v1/responses`: the SDKs, OpenAI's Agents SDK and Codex on our server.

use std::sync::Arc;
use std::time::Duration;

use anyclaude::backend::BackendError;
use anyclaude::server::ServerOptions;
use anyclaude::wire::{Content, ContentBlock, ErrorKind, MessagesRequest, System};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::clients::{run_codex, sdk};
use crate::support::http::{Reply, client, post};
use crate::support::process::Ran;
use crate::support::sandbox::Sandbox;
use crate::support::scripted::{Scripted, Served, Step, answer, calling, says_hi_after, tool_results};

/// A server that says something and calls a tool at first, and then says what it has learned.
fn reading(tool: &'static str, input: Value) -> Served {
    let call = [json!({"text": "Let me look."}), json!({"tool": tool, "input": input})];
    let says = move |request: &MessagesRequest| match tool_results(request).len() {
        0 => Ok(answer(&call)),
        _ => Ok(answer(&[json!({"text": "It is swordfish."})])),
    };
    Scripted::new(says).serve()
}

fn ask(server: &Served, body: &Value) -> Reply {
    post(&format!("{}/v1/responses", server.url), body)
}

#[test]
fn openais_python_sdk_is_served() {
    sdk_is_served("responses.py");
}

#[test]
fn openais_typescript_sdk_is_served() {
    sdk_is_served("responses.cjs");
}

/// Both SDKs do and see the same.
fn sdk_is_served(script: &str) {
    let server = reading("Read", json!({"file_path": "hello.txt"}));
    let report = sdk(script, &server.url);
    let response = json!({
        "text": "Let me look.", "calls": [{"name": "Read", "arguments": {"file_path": "hello.txt"}}], "status": "completed",
        "prompt": 42, "cached": 30, "output": 7,
    });
    assert_eq!(report["streamed"], response);
    assert_eq!(report["whole"], response);
    assert_eq!(report["follow_up"], "It is swordfish.");
    assert_eq!((&report["first_event"], &report["last_event"]), (&json!("response.created"), &json!("response.completed")));
    assert_eq!(report["numbers_are_in_order"], true);
    let message = "previous_response_id: nothing is kept between requests: send the whole conversation as input";
    assert_eq!(report["error"], json!({"type": "invalid_request_error", "param": "previous_response_id", "message": message}));

    let requests = server.backend.requests.all();
    assert_eq!((&requests[0].system, requests[0].max_tokens), (&Some(System::Text("Be brief.".into())), 64));
    let next = requests.iter().find(|request| !tool_results(request).is_empty()).unwrap();
    let messages = serde_json::to_value(&next.messages).unwrap();
    let call = json!({"type": "tool_use", "id": report["call_id"], "name": "Read", "input": {"file_path": "hello.txt"}});
    assert_eq!(messages[1]["content"], json!([{"type": "text", "text": "Let me look."}, call]));
    let result = json!({"type": "tool_result", "tool_use_id": report["call_id"], "content": "The password is swordfish."});
    assert_eq!(messages[2]["content"], json!([result]));
}

#[test]
fn openais_agents_run_their_tools() {
    let server = reading("read", json!({"path": "hello.txt"}));
    let report = sdk("agents_sdk.py", &server.url);
    let answer = "It is swordfish.";
    assert_eq!((&report["whole"], &report["streamed"]), (&json!(answer), &json!(answer)), "{report}");
    assert_eq!(report["asked"], json!(["hello.txt", "hello.txt"]));
    assert_eq!(report["pieces"], format!("Let me look.{answer}"));
    let counted = ["requests", "prompt", "cached", "output"].map(|field| report[field].as_u64());
    assert_eq!(counted, [Some(2), Some(84), Some(60), Some(14)], "{report}");
}

/// The events of one kind that Codex printed.
fn events(ran: &Ran, kind: &str) -> Vec<Value> {
    let lines = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{ran:?}")));
    lines.filter(|event| event["type"] == kind).collect()
}

#[test]
fn codex_runs_commands_and_patches_files_as_the_answers_ask() {
    let sandbox = Sandbox::new();
    sandbox.write("hello.txt", "The password is swordfish.\n");
    let patch = "*** Begin Patch\n*** Update File: hello.txt\n@@\n-The password is swordfish.\n+The password is halibut.\n*** End Patch\n";
    let server = calling(vec![
        json!({"tool": "exec_command", "input": {"cmd": "cat hello.txt"}}),
        json!({"tool": "apply_patch", "input": {"input": patch}}),
    ]);
    // Codex offers its patches as a custom tool to the models that it knows.
    let ran = run_codex(&sandbox, &server.url, "gpt-5.5", "Read hello.txt, then change the password").exits(0);
    assert_eq!(sandbox.read("hello.txt"), "The password is halibut.\n", "{ran:?}");
    let usage = &events(&ran, "turn.completed")[0]["usage"];
    assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(126), &json!(21)), "{ran:?}");
    assert!(ran.stdout.contains("All done."), "{ran:?}");

    let requests = server.backend.requests.all();
    let last = requests.last().unwrap();
    let results: Vec<String> = tool_results(last).iter().map(|result| serde_json::to_string(result).unwrap()).collect();
    assert_eq!(results.len(), 2, "{results:?}");
    assert!(results[0].contains("swordfish") && results[1].contains("hello.txt"), "{results:?}");
    let said = last.messages.iter().flat_map(|message| message.content.listed());
    let inputs: Vec<&Value> = said
        .filter_map(|block| match block {
            ContentBlock::ToolUse { input, .. } => Some(input),
            _ => None,
        })
        .collect();
    assert_eq!(inputs[1], &json!({"input": patch}), "the patch comes back as it was");
    let grammar = last.tools.iter().find(|tool| tool.name == "apply_patch").unwrap();
    assert!(grammar.description.as_ref().unwrap().contains("lark grammar"), "{grammar:?}");
}

#[cfg(feature = "mlx")]
#[test]
fn codex_has_a_turn_with_the_embedded_model() {
    let server = crate::support::serving::Serving::start(crate::support::MODEL, &[]);
    let sandbox = Sandbox::new();
    sandbox.write("hello.txt", "Hello from the file\n");
    // The model has learned Claude Code's tools. What it calls here is valid and of little use.
    let ran = run_codex(&sandbox, &server.url, "tiny", "Read hello.txt and tell me what it says").exits(0);
    let (turns, failures) = (events(&ran, "turn.completed"), events(&ran, "turn.failed"));
    assert_eq!((turns.len(), failures.len()), (1, 0), "{ran:?}");
    let usage = |field: &str| turns[0]["usage"][field].as_u64().unwrap();
    assert!(usage("output_tokens") > 0 && usage("cached_input_tokens") < usage("input_tokens"), "{ran:?}");
    let metrics = crate::support::http::get(&format!("{}/metrics", server.url)).text;
    let answered = "anyclaude_requests_total{path=\"/v1/responses\",status=\"200\"} ";
    let requests = metrics.lines().find_map(|line| line.strip_prefix(answered)).unwrap_or_else(|| panic!("{metrics}"));
    assert_ne!(requests, "1", "a call was made and its output came back: {ran:?}");
    assert!(!metrics.contains("path=\"/v1/responses\",status=\"4"), "{metrics}");
}

#[tokio::test]
async fn silence_is_filled_with_comments() {
    let go = Arc::new(Notify::new());
    let options = ServerOptions { ping_every: Duration::from_millis(20), ..ServerOptions::default() };
    let server = says_hi_after(go.clone()).serve_with(options);
    let body = json!({"input": "Hi", "stream": true});
    let mut response = client().post(format!("{}/v1/responses", server.url)).json(&body).send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), ": ping\n\n");
    go.notify_one();
    let rest = response.text().await.unwrap();
    let start = rest.trim_start_matches(": ping\n\n");
    assert!(start.starts_with("event: response.created\ndata: {\"type\":\"response.created\",\"response\":"), "{rest}");
    assert!(rest.trim_end().rsplit("\n\n").next().unwrap().starts_with("event: response.completed\n"), "{rest}");
}

#[test]
fn errors_have_a_status_at_first_and_are_a_failed_response_later() {
    let too_long = || BackendError::new(ErrorKind::InvalidRequest, "prompt is too long: 9000 tokens > 8192 maximum");
    let server = Scripted::new(move |_| Err(too_long())).serve();
    for stream in [false, true] {
        let reply = ask(&server, &json!({"input": "Hi", "stream": stream}));
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!("context_length_exceeded")));
    }
    let server = Scripted::new(move |_| {
        let mut steps = answer(&[json!({"text": "Hi"})]);
        steps.insert(2, Step::Fail(too_long()));
        Ok(steps)
    });
    let reply = ask(&server.serve(), &json!({"input": "Hi", "stream": true})).succeeds();
    let last = reply.text.lines().rfind(|line| line.starts_with("data: ")).unwrap();
    let last: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.failed"), &json!("failed")));
    assert_eq!(last["response"]["error"]["code"], "context_length_exceeded");
}

#[test]
fn what_is_wrong_is_refused_by_its_field() {
    let server = Scripted::new(|_| Ok(answer(&[]))).serve();
    let refusal = |body: Value| {
        let reply = ask(&server, &body);
        let error = &reply.json()["error"];
        format!("{} {}: {}\n", reply.status, error["param"], error["message"].as_str().unwrap())
    };
    let tools = json!([{"type": "web_search"}, {"type": "function", "name": "a b"}]);
    let refusals = [
        refusal(json!({})),
        refusal(json!({"input": 7})),
        refusal(json!({"input": []})),
        refusal(json!({"input": [{"role": "user", "content": [{"type": "input_text"}]}]})),
        refusal(json!({"input": [{"type": "function_call_output", "output": ""}]})),
        refusal(json!({"input": "Hi", "tools": tools})),
        refusal(json!({"input": "Hi", "tools": tools, "tool_choice": {"type": "web_search"}})),
        refusal(json!({"input": "Hi", "conversation": {"id": "conv_1"}})),
        refusal(json!({"input": "Hi", "max_output_tokens": -2})),
    ];
    insta::assert_snapshot!(refusals.concat(), @r#"
    400 "input": input: Field required
    400 "input": input: Input should be a valid string or list
    400 "input": input: at least one message is required
    400 "input.0.content.0.text": input.0.content.0.text: Field required
    400 "input.0.call_id": input.0.call_id: Field required
    400 "tools.1.name": tools.1.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'
    400 "tool_choice.type": tool_choice.type: web_search is a tool that OpenAI's servers run, so this model cannot call it
    400 "conversation": conversation: nothing is kept between requests: send the whole conversation as input
    400 "max_output_tokens": max_output_tokens: -2 is not a number of tokens
    "#);
    assert!(server.backend.requests.all().is_empty());
}

#[test]
fn a_picture_reaches_the_backend() {
    let server = Scripted::new(|_| Ok(answer(&[json!({"text": "A crab."})]))).serve();
    let image = json!({"type": "input_image", "image_url": "data:image/png;base64,AA=="});
    let reply = ask(&server, &json!({"input": [{"role": "user", "content": [image]}], "store": true})).succeeds();
    assert_eq!(reply.json()["output"][0]["content"][0]["text"], "A crab.");
    let requests = server.backend.requests.all();
    let Content::Blocks(blocks) = &requests[0].messages[0].content else { panic!("{requests:?}") };
    assert!(matches!(&blocks[..], [ContentBlock::Image { source, .. }] if source["media_type"] == "image/png"), "{blocks:?}");
}
