//! OpenAI-compatible servers as backends: LM Studio's and OpenRouter's answers with their quirks, and the real Claude Code
//! client through our server in front of them.

use std::sync::Arc;

use anyclaude::backend::fallback::FallbackBackend;
use anyclaude::backend::openai::OpenAiBackend;
use anyclaude::backend::remote::RemoteBackend;
use anyclaude::backend::{Backend, BackendError, ModelLimits};
use anyclaude::convert::Dialect;
use anyclaude::server::ServerOptions;
use anyclaude::wire::{Assembler, Message, MessagesRequest};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::chat_upstream::{Asked, ChatUpstream, DONE, Reply, frame, lm_studio, open_router};
use crate::support::clients::run_claude;
use crate::support::deadline::soon;
use crate::support::http::post;
use crate::support::listen;
use crate::support::sandbox::Sandbox;
use crate::support::scripted::{Scripted, answer};

fn request() -> MessagesRequest {
    let tool = json!({"name": "Read", "input_schema": {"type": "object"}});
    serde_json::from_value(json!({
        "model": "claude-x", "max_tokens": 64, "system": "Be brief.", "tools": [tool],
        "messages": [{"role": "user", "content": "Read hello.txt"}],
    }))
    .unwrap()
}

async fn message(backend: &dyn Backend) -> Result<Message, BackendError> {
    soon("the answer", async {
        let mut assembler = Assembler::default();
        let mut events = backend.messages(request()).await?;
        while let Some(event) = events.next().await {
            assembler.push(&event?).unwrap();
        }
        Ok(assembler.finish().unwrap())
    })
    .await
}

/// The content without ids.
fn content(message: &Message) -> Value {
    let mut content = serde_json::to_value(&message.content).unwrap();
    for block in content.as_array_mut().unwrap() {
        block.as_object_mut().unwrap().retain(|name, _| name != "id" && name != "signature");
    }
    content
}

fn hello() -> [(&'static str, Value); 1] {
    [("Read", json!({"file_path": "hello.txt"}))]
}

#[tokio::test]
async fn lm_studio_answers() {
    let upstream = ChatUpstream::start(|asked| Reply::stream(lm_studio(asked, "Let me look.", &hello())));
    let backend = OpenAiBackend::new(&upstream.url, Some("lm-studio"), Some("qwen3-8b"), Dialect::LmStudio).unwrap();
    let message = message(&backend).await.unwrap();
    let call = json!({"type": "tool_use", "name": "Read", "input": {"file_path": "hello.txt"}});
    assert_eq!(content(&message), json!([{"type": "text", "text": "Let me look."}, call]));
    assert_eq!((message.model.as_str(), message.usage.input_tokens, message.usage.output_tokens), ("claude-x", 50, 7));
    let asked = &upstream.asked()[0];
    assert_eq!(
        (asked.path.as_str(), &asked.headers["authorization"]),
        ("/v1/chat/completions", &"Bearer lm-studio".parse().unwrap())
    );
    assert_eq!((&asked.body["model"], &asked.body["stream"]), (&json!("qwen3-8b"), &json!(true)));
    for name in ["x-cache-system", "x-cache-hash"] {
        assert_eq!(asked.headers[name].len(), 64, "{name}");
    }
}

#[tokio::test]
async fn open_router_answers() {
    let upstream = ChatUpstream::start(|asked| Reply::stream(open_router(asked, "", &hello())));
    let backend = OpenAiBackend::new(&upstream.url, Some("key"), Some("qwen/qwen3-coder"), Dialect::OpenRouter).unwrap();
    let message = message(&backend).await.unwrap();
    let call = json!({"type": "tool_use", "name": "Read", "input": {"file_path": "hello.txt"}});
    assert_eq!(content(&message), json!([{"type": "thinking", "thinking": "Let me think."}, call]));
    let usage = message.usage;
    assert_eq!((usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens), (10, Some(40), 7));
}

#[tokio::test]
async fn models_are_listed() {
    let list = json!({"data": [{"id": "qwen3-8b", "object": "model", "owned_by": "organization_owner"},
                               {"id": "text-embedding-nomic", "object": "model", "owned_by": "organization_owner"}], "object": "list"});
    let upstream = ChatUpstream::start(move |_| Reply::json(200, list.clone()));
    let backend = OpenAiBackend::new(&upstream.url, None, None, Dialect::LmStudio).unwrap();
    assert_eq!(soon("the models", backend.models()).await.unwrap(), ["qwen3-8b", "text-embedding-nomic"]);
    assert_eq!(upstream.asked()[0].path, "/v1/models");
}

#[tokio::test]
async fn a_models_limits_are_those_that_the_server_lists() {
    let cases = [
        (json!({"id": "m", "context_length": 131_072}), Some(131_072), None),
        (json!({"id": "m", "max_model_len": 32_768}), Some(32_768), None),
        (json!({"id": "m", "context_window": 8_192, "max_completion_tokens": 4_096}), Some(8_192), Some(4_096)),
        (json!({"id": "m", "max_context_length": 262_144, "max_tokens": 0}), Some(262_144), None),
        (json!({"id": "m", "context_length": "long"}), None, None),
        (json!({"id": "another", "context_length": 131_072}), None, None),
        (json!("m"), None, None),
    ];
    for (entry, context, output) in cases {
        let list = json!({"data": [entry]});
        let upstream = ChatUpstream::start(move |_| Reply::json(200, list.clone()));
        let backend = OpenAiBackend::new(&upstream.url, None, Some("m"), Dialect::Compatible).unwrap();
        assert_eq!(soon("the limits", backend.limits()).await, ModelLimits { context, output });
    }
    let refusing = ChatUpstream::start(|_| Reply::json(404, json!({})));
    let backend = OpenAiBackend::new(&refusing.url, None, Some("m"), Dialect::Compatible).unwrap();
    assert_eq!(soon("the limits", backend.limits()).await, ModelLimits::default());
}

#[tokio::test]
async fn errors_keep_their_status_and_when_to_come_back() {
    let cases = [
        (
            Reply::json(429, json!({"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}})).with("retry-after", "7"),
            (429, "rate_limit_error: slow down".to_owned(), Some("7")),
        ),
        (
            Reply::json(402, json!({"error": {"code": 402, "message": "Insufficient credits"}})),
            (402, "invalid_request_error: Insufficient credits".to_owned(), None),
        ),
        (Reply::json(404, json!({"detail": "Not Found"})), (404, "not_found_error: Not Found".to_owned(), None)),
        (
            Reply::json(400, json!({"error": "The number of tokens to keep from the initial prompt is greater than the context length."})),
            (400, "invalid_request_error: prompt is too long: The number of tokens to keep from the initial prompt is greater than the context length.".to_owned(), None),
        ),
        (
            Reply { status: 502, headers: vec![("content-type", "text/html")], body: "<html>Bad Gateway</html>".into() },
            (502, "api_error: URL answered 502 Bad Gateway: <html>Bad Gateway</html>".to_owned(), None),
        ),
        // In mid-stream:
        (
            Reply::stream(frame(&json!({"id": "gen-1", "error": {"code": 502, "message": "Provider disconnected"}, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}))),
            (500, "api_error: Provider disconnected".to_owned(), None),
        ),
        (
            Reply::stream("event: error\ndata: {\"error\":{\"message\":\"Model unloaded\"}}\n\n"),
            (500, "api_error: Model unloaded".to_owned(), None),
        ),
        (
            Reply::stream(frame(&json!({"choices": [{"delta": {"content": "Hal"}}]}))),
            (500, "api_error: the model's answer ended in the middle".to_owned(), None),
        ),
    ];
    for (reply, (status, text, retry)) in cases {
        let reply = std::sync::Mutex::new(Some(reply));
        let upstream = ChatUpstream::start(move |_| reply.lock().unwrap().take().unwrap());
        let backend = OpenAiBackend::new(&upstream.url, None, Some("m"), Dialect::Compatible).unwrap();
        let error = message(&backend).await.unwrap_err();
        assert_eq!(error.to_string(), text.replace("URL", &upstream.url));
        let BackendError::Answered { status: seen, retry_after, .. } = error else { panic!("{error:?}") };
        assert_eq!((seen, retry_after.as_deref()), (status, retry), "{text}");
    }
}

/// A request with a picture.
fn request_with_picture() -> MessagesRequest {
    let source = json!({"type": "base64", "media_type": "image/png", "data": "AA=="});
    let content = json!([{"type": "text", "text": "See:"}, {"type": "image", "source": source}]);
    serde_json::from_value(json!({"model": "claude-x", "max_tokens": 64, "messages": [{"role": "user", "content": content}]}))
        .unwrap()
}

#[tokio::test]
async fn a_request_whose_picture_is_refused_is_answered_without_it() {
    let is_shown = |asked: &Asked| asked.body["messages"][0]["content"].is_array();
    let cases = [
        // Of a model that sees nothing, no more pictures are sent.
        (
            Reply::json(400, json!({"error": "Model does not support images. Please use a model that does."})),
            [true, false, false],
        ),
        (
            Reply::json(500, json!({"error": {"message": "image input is not supported - hint: you may need the mmproj"}})),
            [true, false, false],
        ),
        (Reply::json(404, json!({"error": {"message": "No endpoints found that support image input"}})), [true, false, false]),
        // A picture may be broken.
        (Reply::json(400, json!({"error": {"message": "cannot decode the image"}})), [true, false, true]),
        (Reply::json(400, json!({"error": {"message": "unsupported image format"}})), [true, false, true]),
    ];
    for (refusal, shown) in cases {
        let Reply { status, headers: _, body } = refusal;
        let body: Value = serde_json::from_str(&body).unwrap();
        let upstream = ChatUpstream::start(move |asked| match is_shown(asked) {
            true => Reply::json(status, body.clone()),
            false => Reply::stream(lm_studio(asked, "A crab.", &[])),
        });
        let backend = OpenAiBackend::new(&upstream.url, None, Some("m"), Dialect::Compatible).unwrap();
        for _ in 0..2 {
            let events = soon("the answer", backend.messages(request_with_picture())).await.unwrap();
            assert!(soon("its end", events.all(|event| async move { event.is_ok() })).await);
        }
        assert_eq!(upstream.asked().iter().map(is_shown).take(3).collect::<Vec<_>>(), shown);
        let told = upstream.asked()[1].body["messages"][0]["content"].as_str().unwrap().to_owned();
        assert_eq!(told, "See:\n\n[image left out: this model's server cannot be shown it]");
    }
}

#[tokio::test]
async fn a_refusal_that_is_not_the_pictures_fault_is_passed_on() {
    for (status, message, times) in
        [(401, "no key", 1), (429, "slow down", 1), (400, "bad schema", 2), (400, "maximum context length is 9", 1)]
    {
        let upstream = ChatUpstream::start(move |_| Reply::json(status, json!({"error": {"message": message}})));
        let backend = OpenAiBackend::new(&upstream.url, None, Some("m"), Dialect::Compatible).unwrap();
        let error = soon("the refusal", backend.messages(request_with_picture())).await.err().unwrap().to_string();
        assert!(error.ends_with(message), "{error}");
        assert_eq!(upstream.asked().len(), times, "{message}");
    }
}

#[tokio::test]
async fn thoughts_that_the_servers_prompt_has_opened_are_thoughts_from_the_second_answer_on() {
    let upstream = ChatUpstream::start(|asked| Reply::stream(lm_studio(asked, "A file, I think. </think> Here it is.", &[])));
    let backend = OpenAiBackend::new(&upstream.url, None, Some("m"), Dialect::Compatible).unwrap();
    let text = |text: &str| json!({"type": "text", "text": text});
    let first = content(&message(&backend).await.unwrap());
    assert_eq!(first, json!([text("A file, I think. \n\nHere it is.")]));
    let second = content(&message(&backend).await.unwrap());
    assert_eq!(second, json!([{"type": "thinking", "thinking": "A file, I think. "}, text("Here it is.")]));
}

#[tokio::test]
async fn what_is_not_the_protocol_is_told() {
    let wrong_path = json!({"error": "Unexpected endpoint or method. (POST /chat/completions)"});
    for (reply, reason) in [
        (
            Reply::json(200, wrong_path),
            "asked for a stream, it answered with Unexpected endpoint or method. (POST /chat/completions)",
        ),
        (Reply::stream("data: <html>\n\n"), "a chunk is not readable (expected value at line 1 column 1): <html>"),
    ] {
        let reply = std::sync::Mutex::new(Some(reply));
        let upstream = ChatUpstream::start(move |_| reply.lock().unwrap().take().unwrap());
        let backend = OpenAiBackend::new(&upstream.url, None, Some("m"), Dialect::Compatible).unwrap();
        let error = message(&backend).await.unwrap_err();
        assert!(matches!(error, BackendError::Protocol { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("{} does not speak the chat completions API: {reason}", upstream.url));
    }
}

#[tokio::test]
async fn an_answer_without_usage_or_done_is_an_answer() {
    let finish = json!({"choices": [{"index": 0, "delta": {"content": "Hello."}, "finish_reason": "stop"}]});
    let upstream = ChatUpstream::start(move |_| Reply::stream(frame(&finish)));
    let backend = OpenAiBackend::new(&upstream.url, None, Some("m"), Dialect::Compatible).unwrap();
    let message = message(&backend).await.unwrap();
    assert_eq!((content(&message), message.usage.output_tokens), (json!([{"type": "text", "text": "Hello."}]), 0));
}

#[tokio::test]
async fn prompt_tokens_are_estimated_without_asking() {
    let upstream = ChatUpstream::start(|_| Reply::stream(DONE));
    let backend = OpenAiBackend::new(&upstream.url, None, Some("m"), Dialect::Compatible).unwrap();
    let tokens = backend.count_tokens(request()).await.unwrap();
    assert!((30..100).contains(&tokens), "{tokens}");
    assert_eq!(upstream.asked().len(), 0);
}

/// Servers elsewhere are not asked for log-probabilities, and the client is told so.
#[test]
fn a_request_for_log_probabilities_is_refused_by_its_field() {
    let upstream = ChatUpstream::start(|_| Reply::stream(DONE));
    let chat = OpenAiBackend::new(&upstream.url, None, Some("m"), Dialect::Compatible).unwrap();
    let ours = Scripted::new(|_| Ok(answer(&[]))).serve();
    let messages = Runtime::new().unwrap().block_on(RemoteBackend::new(&ours.url)).unwrap();
    let mut seen = String::new();
    for backend in [Arc::new(chat) as Arc<dyn Backend>, Arc::new(messages)] {
        let url = listen::backend(backend, ServerOptions::default());
        let turn = json!([{"role": "user", "content": "hi"}]);
        for (path, body) in [
            ("chat/completions", json!({"messages": turn, "logprobs": true})),
            ("responses", json!({"input": turn, "top_logprobs": 3})),
        ] {
            let reply = post(&format!("{url}/v1/{path}"), &body);
            let error = &reply.json()["error"];
            let message = error["message"].as_str().unwrap().replace(&upstream.url, "CHAT").replace(&ours.url, "MESSAGES");
            seen += &format!("{} {}: {message}\n", reply.status, error["param"]);
        }
    }
    insta::assert_snapshot!(seen, @r#"
    400 "logprobs": logprobs: only a local model reports them here, not CHAT: leave the field out
    400 "top_logprobs": top_logprobs: only a local model reports them here, not CHAT: leave the field out
    400 "logprobs": logprobs: only a local model reports them here, not MESSAGES: leave the field out
    400 "top_logprobs": top_logprobs: only a local model reports them here, not MESSAGES: leave the field out
    "#);
    assert_eq!((upstream.asked().len(), ours.backend.requests.all().len()), (0, 0));
}

#[tokio::test]
async fn a_server_that_is_down_hands_over_to_the_next() {
    let down = listen::nobody();
    let overloaded = ChatUpstream::start(|_| Reply::json(503, json!({"error": {"code": 503, "message": "no provider"}})));
    let up = ChatUpstream::start(|asked| Reply::stream(open_router(asked, "Here.", &[])));
    let backend =
        |url: &str| -> Arc<dyn Backend> { Arc::new(OpenAiBackend::new(url, None, Some("m"), Dialect::OpenRouter).unwrap()) };
    let chain = FallbackBackend::new(vec![backend(&down), backend(&overloaded.url), backend(&up.url)]);
    assert_eq!(content(&message(&chain).await.unwrap())[1], json!({"type": "text", "text": "Here."}));
    let counts: Vec<u64> = chain.answered().into_iter().map(|(_, count)| count).collect();
    assert_eq!(counts, [0, 0, 1]);
}

/// The texts of the results of tool calls that a chat request carries.
fn results(asked: &Asked) -> Vec<String> {
    let messages = asked.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let results = messages.iter().filter(|message| message["role"] == "tool");
    results.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

/// Claude Code reads, writes and runs what the answers ask for; two calls come at once.
fn claude_code_works(dialect: Dialect, stream: fn(&Asked, &str, &[(&str, Value)]) -> String) {
    let sandbox = Sandbox::new();
    let path = |name: &str| sandbox.path(name);
    sandbox.write("hello.txt", "The password is swordfish.\n");
    let turns: [Vec<(&str, Value)>; 3] = [
        vec![("Read", json!({"file_path": path("hello.txt")})), ("Read", json!({"file_path": path("absent.txt")}))],
        vec![("Write", json!({"file_path": path("new.txt"), "content": "written by a tool call\n"}))],
        vec![("Bash", json!({"command": "echo 6*7=$((6*7))", "description": "Multiplies"}))],
    ];
    let upstream = ChatUpstream::start(move |asked| {
        let turn = match results(asked).len() {
            0 => 0,
            2 => 1,
            3 => 2,
            _ => return Reply::stream(stream(asked, "All done.", &[])),
        };
        Reply::stream(stream(asked, "", &turns[turn]))
    });
    let backend = OpenAiBackend::new(&upstream.url, Some("key"), Some("local"), dialect).unwrap();
    let url = listen::backend(Arc::new(backend), ServerOptions::default());
    let arguments = ["-p", "Read hello.txt", "--allowedTools", "Read,Write,Edit,Bash", "--permission-mode", "acceptEdits"];
    let ran = run_claude(&sandbox, &url, &arguments);
    assert_eq!(ran.stdout.trim(), "All done.", "{}", ran.stderr);
    assert_eq!(sandbox.read("new.txt"), "written by a tool call\n");

    let asked = upstream.asked();
    let last = asked.iter().max_by_key(|asked| results(asked).len()).unwrap();
    let results = results(last);
    assert_eq!(results.len(), 4, "{results:?}");
    for (result, expected) in results.iter().zip(["swordfish", "Error: ", "new.txt", "6*7=42"]) {
        assert!(result.contains(expected), "{result}");
    }
    let ids = |role: &str, field: fn(&Value) -> Vec<Value>| {
        let messages = last.body["messages"].as_array().unwrap().iter();
        messages.filter(|message| message["role"] == role).flat_map(field).collect::<Vec<_>>()
    };
    let called = ids("assistant", |message| {
        message["tool_calls"].as_array().into_iter().flatten().map(|call| call["id"].clone()).collect()
    });
    assert_eq!(called, ids("tool", |message| vec![message["tool_call_id"].clone()]));
    assert!((1..called.len()).all(|at| !called[at..].contains(&called[at - 1])), "an id came twice: {called:?}");
}

#[test]
fn claude_code_works_on_lm_studio() {
    claude_code_works(Dialect::LmStudio, lm_studio);
}

#[test]
fn claude_code_works_on_open_router() {
    claude_code_works(Dialect::OpenRouter, open_router);
}
