//! `POST /v1/chat/completions`: OpenAI's clients on our server, with a scripted backend behind it.

use std::sync::Arc;
use std::time::Duration;

use anyclaude::backend::BackendError;
use anyclaude::server::ServerOptions;
use anyclaude::wire::{ContentBlock, ErrorKind, System};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::clients::sdk;
use crate::support::http::{client, post};
use crate::support::scripted::{Scripted, Served, Step, answer, says_hi_after};

fn chat(stream: bool) -> Value {
    json!({"model": "gpt-9", "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
}

/// Status and body of the answer to a chat request.
fn ask(server: &Served, body: &Value) -> (u16, String) {
    let reply = post(&format!("{}/v1/chat/completions", server.url), body);
    (reply.status, reply.text)
}

#[test]
fn openais_python_sdk_is_served() {
    sdk_is_served("chat.py");
}

#[test]
fn openais_typescript_sdk_is_served() {
    sdk_is_served("chat.cjs");
}

/// Both SDKs do and see the same.
fn sdk_is_served(script: &str) {
    let server = Scripted::new(|request| {
        let call = [json!({"text": "Let me look."}), json!({"tool": "Read", "input": {"file_path": "hello.txt"}})];
        let says = if request.messages.len() == 1 { &call[..] } else { &[json!({"text": "It is swordfish."})] };
        Ok(answer(says))
    });
    let server = server.serve();
    let report = sdk(script, &server.url);
    let completion = json!({
        "text": "Let me look.", "calls": [{"name": "Read", "arguments": {"file_path": "hello.txt"}}], "reason": "tool_calls",
        "prompt": 42, "cached": 30, "output": 7,
    });
    assert_eq!(report["streamed"], completion);
    assert_eq!(report["whole"], completion);
    assert_eq!((&report["follow_up"], &report["models"]), (&json!("It is swordfish."), &json!(["scripted"])));
    assert_eq!(report["error"]["type"], "invalid_request_error");
    let message = report["error"]["message"].as_str().unwrap();
    assert_eq!(message, "messages.0.content.0.type: Input should be 'text', 'image_url', 'file' or 'refusal'");

    let requests = server.backend.requests.all();
    assert_eq!((&requests[0].system, requests[0].max_tokens), (&Some(System::Text("Be brief.".into())), 64));
    let follow_up = serde_json::to_value(&requests[1].messages).unwrap();
    assert_eq!(follow_up[1]["content"][1]["id"], report["call_id"]);
    let result = json!({"type": "tool_result", "tool_use_id": report["call_id"], "content": "The password is swordfish."});
    assert_eq!(follow_up[2]["content"], json!([result]));
    assert!(!follow_up.to_string().contains("\"system\""), "the developer's message is the system prompt");
}

#[test]
fn a_stream_is_chunks_and_done() {
    let server = Scripted::new(|_| Ok(answer(&[json!({"text": "Hi"})]))).serve();
    let (status, text) = ask(&server, &chat(true));
    assert_eq!((status, text.ends_with("data: [DONE]\n\n")), (200, true), "{text}");
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with("data: ")), "{text}");
    // Nobody asked for it.
    assert!(!text.contains("\"usage\""), "{text}");
}

#[tokio::test]
async fn silence_is_filled_with_comments() {
    let go = Arc::new(Notify::new());
    let options = ServerOptions { ping_every: Duration::from_millis(20), ..ServerOptions::default() };
    let server = says_hi_after(go.clone()).serve_with(options);
    let request = client().post(format!("{}/v1/chat/completions", server.url)).json(&chat(true));
    let mut response = request.send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), ": ping\n\n");
    go.notify_one();
    let rest = response.text().await.unwrap();
    assert!(rest.ends_with("data: [DONE]\n\n"), "{rest}");
}

#[test]
fn errors_have_a_status_at_first_and_are_chunks_later() {
    let overloaded = || BackendError::new(ErrorKind::Overloaded, "busy");
    let server = Scripted::new(move |_| Err(overloaded())).serve();
    let error = json!({"message": "busy", "type": "server_error", "param": null, "code": "service_unavailable"});
    let envelope = json!({"error": error});
    for stream in [false, true] {
        let (status, text) = ask(&server, &chat(stream));
        assert_eq!((status, serde_json::from_str::<Value>(&text).unwrap()), (503, envelope.clone()));
    }
    let server = Scripted::new(move |_| {
        let mut steps = answer(&[json!({"text": "Hi"})]);
        steps.insert(2, Step::Fail(overloaded()));
        Ok(steps)
    });
    let server = server.serve();
    let (status, text) = ask(&server, &chat(true));
    assert_eq!((status, text.ends_with(&format!("data: {envelope}\n\n"))), (200, true), "{text}");
}

#[test]
fn a_call_that_was_cut_ends_no_session() {
    let server = Scripted::new(|_| Ok(answer(&[json!({"text": "Hi"})]))).serve();
    let call = json!({"id": "c", "type": "function", "function": {"name": "Read", "arguments": "{\"pat"}});
    let body = json!({"messages": [{"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "The arguments are no JSON."}]});
    assert_eq!(ask(&server, &body).0, 200);
    let requests = server.backend.requests.all();
    let input = serde_json::to_value(&requests[0].messages[0].content).unwrap()[0]["input"].take();
    assert_eq!(input, json!({"arguments": "{\"pat"}));
}

#[test]
fn fields_that_are_not_honoured_are_refused_by_name() {
    let server = Scripted::new(|_| Ok(answer(&[json!({"text": "Hi"})]))).serve();
    for (field, value) in [
        ("n", json!(2)),
        ("functions", json!([{"name": "f"}])),
        ("function_call", json!({"name": "f"})),
        ("logit_bias", json!({"1": 5})),
        ("top_k", json!("many")),
        ("max_tokens", json!(-5)),
        ("tool_choice", json!({"type": "custom"})),
        ("modalities", json!(["audio"])),
    ] {
        let mut body = chat(false);
        body[field] = value;
        let (status, text) = ask(&server, &body);
        let error = serde_json::from_str::<Value>(&text).unwrap()["error"].take();
        assert_eq!((status, &error["param"], &error["type"]), (400, &json!(field), &json!("invalid_request_error")), "{text}");
    }
    let mut body = chat(false);
    body["messages"][0]["role"] = json!("function");
    let (status, text) = ask(&server, &body);
    let error = &serde_json::from_str::<Value>(&text).unwrap()["error"]["message"];
    let reason = "messages.0.role: Input should be 'system', 'developer', 'user', 'assistant' or 'tool'";
    assert_eq!((status, error), (400, &json!(reason)));
    assert!(server.backend.requests.all().is_empty());
}

#[test]
fn half_a_character_is_no_reason_to_refuse() {
    let server = Scripted::new(|_| Ok(answer(&[json!({"text": "Hi"})]))).serve();
    let body = r#"{"messages": [{"role": "user", "content": "cut \ud83d"}]}"#;
    let reply = crate::support::http::send(client().post(format!("{}/v1/chat/completions", server.url)).body(body)).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(server.backend.requests.all()[0].messages[0].content, "cut \u{fffd}".to_owned().into());
}

#[test]
fn an_answer_that_only_calls_has_no_text() {
    let server = Scripted::new(|_| Ok(answer(&[json!({"tool": "Read", "input": {"path": "a"}})]))).serve();
    let (_, text) = ask(&server, &chat(true));
    let first = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let delta = serde_json::from_str::<Value>(first).unwrap()["choices"][0]["delta"].take();
    assert_eq!(delta, json!({"role": "assistant", "content": null}));
}

#[test]
fn an_image_reaches_the_backend() {
    let server = Scripted::new(|_| Ok(answer(&[json!({"text": "A crab."})]))).serve();
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}});
    let (status, text) = ask(&server, &json!({"messages": [{"role": "user", "content": [image]}]}));
    assert_eq!((status, text.contains("A crab.")), (200, true), "{text}");
    let requests = server.backend.requests.all();
    let anyclaude::wire::Content::Blocks(blocks) = &requests[0].messages[0].content else { panic!("{requests:?}") };
    assert!(matches!(&blocks[..], [ContentBlock::Image { source, .. }] if source["media_type"] == "image/png"), "{blocks:?}");
}
