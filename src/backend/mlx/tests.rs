use futures::StreamExt;
use serde_json::{Map, Value, json};

use super::*;
use crate::wire::{Assembler, ContentBlock, Message, StopReason, ToolChoice};

/// A backend with the committed model.
fn backend() -> MlxBackend {
    MlxBackend::load(&crate::engine::text::tiny_model(), EngineOptions::default()).unwrap()
}

/// A request that forces a tool call; `turn` is the text of its last message.
fn tool_request(turn: &str) -> MessagesRequest {
    let schema = json!({"type": "object", "properties": {"path": {"type": "string", "maxLength": 20}},
                        "required": ["path"], "additionalProperties": false});
    let system = "You read files for the user. ".repeat(40);
    serde_json::from_value(json!({
        "model": "claude-x",
        "system": system, "max_tokens": 40, "temperature": 0,
        "tools": [{"name": "Read", "description": "Reads a file.", "input_schema": schema}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        "messages": [{"role": "user", "content": turn}],
    }))
    .unwrap()
}

async fn ask(backend: &MlxBackend, request: MessagesRequest) -> Message {
    let mut assembler = Assembler::default();
    let mut events = backend.messages(request).await.unwrap();
    while let Some(event) = events.next().await {
        assembler.push(&event.unwrap()).unwrap();
    }
    assembler.finish().unwrap()
}

fn calls(message: &Message) -> Vec<(&str, &Value)> {
    let blocks = message.content.iter().map(|block| match block {
        ContentBlock::ToolUse { name, input, .. } => Some((name.as_str(), input)),
        _ => None,
    });
    blocks.flatten().collect()
}

#[tokio::test]
async fn cold_warm_and_cached_differ_in_the_cache_and_not_in_the_answer() {
    let backend = backend();
    let ask = |turn| ask(&backend, tool_request(turn));
    let total = backend.count_tokens(tool_request("Read a.txt")).await.unwrap();

    let cold = ask("Read a.txt").await;
    let cached = ask("Read a.txt").await;
    let cache = backend.cache().unwrap();
    cache.clear().await.unwrap();
    cache.keep_shared_prefix(tool_request("something else")).await.unwrap();
    let warm = ask("Read a.txt").await;

    let read = |message: &Message| message.usage.cache_read_input_tokens.unwrap();
    assert!([&cold, &cached, &warm].iter().all(|message| message.usage.prompt_tokens() == total));
    assert_eq!((read(&cold), read(&cached)), (0, total - 1));
    assert!(read(&warm) > total / 2 && read(&warm) < total - 1, "{} of {total} were warm", read(&warm));

    let [(name, input)] = calls(&cold)[..] else { panic!("{cold:?}") };
    assert!(name == "Read" && input["path"].is_string(), "{cold:?}");
    assert_eq!((calls(&cold), &cold.stop_reason), (calls(&cached), &cached.stop_reason));
    assert_eq!((calls(&cold), &cold.stop_reason), (calls(&warm), &warm.stop_reason));
}

#[tokio::test]
async fn tokens_count_as_created_up_to_the_breakpoint() {
    let backend = backend();
    let control = json!({"type": "ephemeral", "ttl": "1h"});
    let request = |late: bool, with_breakpoint: bool| -> MessagesRequest {
        let mut request = json!({
            "model": "claude-x", "max_tokens": 1,
            "system": [{"type": "text", "text": "You read files for the user. ".repeat(9)}],
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Read a.txt, please."}]}],
        });
        if with_breakpoint {
            request["messages"][0]["content"][0]["cache_control"] = control.clone();
        }
        if late {
            let last = json!({"role": "user", "content": "Then read b.txt, and c.txt after that."});
            request["messages"].as_array_mut().unwrap().push(last);
        }
        serde_json::from_value(request).unwrap()
    };
    let count = async |late| backend.count_tokens(request(late, false)).await.unwrap();
    let (short, long) = (count(false).await, count(true).await);
    let usage = ask(&backend, request(true, true)).await.usage;
    let created = usage.cache_creation_input_tokens.unwrap();
    assert_eq!((usage.prompt_tokens(), &usage.extra["cache_creation"]["ephemeral_1h_input_tokens"]), (long, &json!(created)));
    // All of the shorter prompt except the template's repetition of the task and the tokens that open the answer.
    assert!(created <= short && created + 40 >= short && usage.input_tokens > 5, "{usage:?}");
    let usage = ask(&backend, request(false, false)).await.usage;
    assert_eq!((usage.cache_creation_input_tokens, usage.prompt_tokens()), (Some(0), short));
}

#[tokio::test]
async fn a_call_that_max_tokens_cuts_stays_open() {
    let backend = backend();
    let answer = ask(&backend, tool_request("Read a.txt")).await;
    assert_eq!(answer.stop_reason, Some(StopReason::ToolUse));
    let whole = calls(&answer)[0].1.to_string().replace(':', ": ").replace(',', ", ");
    for max_tokens in 1..answer.usage.output_tokens as u32 {
        let message = ask(&backend, MessagesRequest { max_tokens, ..tool_request("Read a.txt") }).await;
        assert_eq!(message.stop_reason, Some(StopReason::MaxTokens), "{message:?}");
        assert_eq!(message.usage.output_tokens, u64::from(max_tokens));
        if let Some((_, open)) = calls(&message).first()
            && let Some(open) = open.as_str()
        {
            assert!(whole.starts_with(open) && open != whole, "{open} is not how {whole} begins");
        }
    }
}

#[tokio::test]
async fn an_answer_goes_on_from_its_beginning() {
    let backend = backend();
    let request = |begun: &str| -> MessagesRequest {
        let mut messages = vec![json!({"role": "user", "content": "Say hello."})];
        if !begun.is_empty() {
            messages.push(json!({"role": "assistant", "content": begun}));
        }
        let body = json!({"model": "claude-x", "max_tokens": 24, "temperature": 0, "messages": messages});
        serde_json::from_value(body).unwrap()
    };
    let text = |message: Message| match &message.content[..] {
        [ContentBlock::Text { text, .. }] => text.clone(),
        other => panic!("{other:?}"),
    };
    let whole = text(ask(&backend, request("")).await);
    let (begun, rest) = whole.split_at(whole.rfind(' ').unwrap());
    let answer = ask(&backend, request(begun)).await;
    assert_eq!(backend.count_tokens(request(begun)).await.unwrap(), answer.usage.prompt_tokens());
    assert!(text(answer).starts_with(rest), "{whole:?}");
}

#[tokio::test]
async fn a_request_that_cannot_be_answered_is_an_invalid_request() {
    let mut request = tool_request("hi");
    request.tool_choice = Some(ToolChoice::Tool { name: "Write".into(), disable_parallel_tool_use: false, extra: Map::new() });
    match backend().messages(request).await {
        Err(BackendError::Answered { status, .. }) => assert_eq!(status, 400),
        _ => panic!("accepted"),
    }
}
