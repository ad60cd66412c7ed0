//! The Messages API over real sockets, with a scripted backend behind it.

use std::sync::Arc;
use std::time::Duration;

use anyclaude::backend::BackendError;
use anyclaude::server::{Server, ServerOptions};
use anyclaude::wire::{ErrorKind, MessagesRequest};
use futures::StreamExt;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};

use super::hello;
use crate::support::deadline::soon;
use crate::support::http::client;
use crate::support::scripted::{Script, Scripted, Served, Step, answer};

fn text_and_tool(_: &MessagesRequest) -> Script {
    Ok(answer(&[json!({"text": "Let me look."}), json!({"tool": "Read", "input": {"file_path": "a.txt"}})]))
}

fn serving(answer: impl Fn(&MessagesRequest) -> Script + Send + Sync + 'static) -> Served {
    Scripted::new(answer).serve()
}

async fn post(server: &Served, path: &str, body: &Value) -> Response {
    client().post(format!("{}{path}", server.url)).json(body).send().await.unwrap()
}

async fn get(server: &Served, path: &str) -> Response {
    client().get(format!("{}{path}", server.url)).send().await.unwrap()
}

/// The names of the events in an SSE body.
fn names(body: &str) -> Vec<&str> {
    body.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
}

/// Status, error type and message of an error response, after checking its form.
async fn error(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    let id = response.headers()["request-id"].to_str().unwrap().to_owned();
    assert!(id.starts_with("req_"), "{id}");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["type"], "error");
    let text = |field: &str| body["error"][field].as_str().unwrap().to_owned();
    (status, text("type"), text("message"))
}

#[tokio::test]
async fn a_stream_has_anthropics_headers_and_event_order() {
    let server = serving(text_and_tool);
    let response = post(&server, "/v1/messages?beta=true", &hello(true)).await;
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    assert_eq!(response.headers()["cache-control"], "no-cache");
    assert!(response.headers()["request-id"].to_str().unwrap().starts_with("req_"));
    let body = response.text().await.unwrap();
    assert_eq!(
        names(&body),
        [
            "message_start",
            "ping",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
}

#[tokio::test]
async fn without_stream_the_answer_is_the_message_that_the_events_make() {
    let server = serving(text_and_tool);
    let mut message: Value = post(&server, "/v1/messages", &hello(false)).await.json().await.unwrap();
    assert!(message["content"][1]["id"].take().as_str().unwrap().starts_with("toolu_"));
    insta::assert_json_snapshot!(message, @r#"
    {
      "id": "msg_scripted",
      "type": "message",
      "role": "assistant",
      "model": "scripted",
      "content": [
        {
          "type": "text",
          "text": "Let me look."
        },
        {
          "type": "tool_use",
          "id": null,
          "name": "Read",
          "input": {
            "file_path": "a.txt"
          }
        }
      ],
      "stop_reason": "tool_use",
      "stop_sequence": null,
      "usage": {
        "input_tokens": 12,
        "cache_read_input_tokens": 30,
        "output_tokens": 7
      }
    }
    "#);
}

#[tokio::test]
async fn pings_bridge_silence_before_and_after_message_start() {
    let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (go_first, go_second) = (first.clone(), second.clone());
    let script = move |_: &MessagesRequest| {
        let mut steps = answer(&[json!({"text": "late"})]);
        steps.insert(1, Step::Wait(second.clone()));
        steps.insert(0, Step::Wait(first.clone()));
        Ok(steps)
    };
    let options = ServerOptions { ping_every: Duration::from_millis(5), ..ServerOptions::default() };
    let server = Scripted::new(script).serve_with(options);
    let mut chunks = post(&server, "/v1/messages", &hello(true)).await.bytes_stream();
    let mut body = String::new();
    // Silence lasts until three pings have come: before message_start, then (with the one that always follows it) after.
    while let Some(chunk) = chunks.next().await {
        body.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        if names(&body).len() == 3 {
            go_first.notify_one();
        }
        let after = body.split("event: message_start").nth(1).unwrap_or("");
        if names(after).iter().filter(|name| **name == "ping").count() == 3 {
            go_second.notify_one();
        }
    }
    let names = names(&body);
    let start = names.iter().position(|name| *name == "message_start").unwrap();
    let content = names.iter().position(|name| *name == "content_block_start").unwrap();
    assert!(start >= 3 && names[..start].iter().all(|name| *name == "ping"), "{names:?}");
    assert!(content >= start + 4 && names[start + 1..content].iter().all(|name| *name == "ping"), "{names:?}");
    assert_eq!(names.last(), Some(&"message_stop"));
}

#[tokio::test]
async fn every_kind_of_error_has_its_status_and_envelope() {
    for kind in ErrorKind::all() {
        for stream in [true, false] {
            let server = serving(move |_| Err(BackendError::new(kind, "no")));
            let got = error(post(&server, "/v1/messages", &hello(stream)).await).await;
            assert_eq!(got, (kind.status(), kind.name().into(), "no".into()));
        }
    }
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_a_502_naming_it() {
    let server = serving(|_| Err(BackendError::Unreachable { address: "http://up".into(), reason: "refused".into() }));
    let got = error(post(&server, "/v1/messages", &hello(true)).await).await;
    assert_eq!(got, (502, "api_error".into(), "http://up: refused".into()));
}

#[tokio::test]
async fn retry_after_is_passed_on() {
    let server = serving(|_| {
        let BackendError::Answered { status, body, .. } = BackendError::new(ErrorKind::RateLimit, "slow down") else { panic!() };
        Err(BackendError::Answered { status, body, retry_after: Some("7".into()) })
    });
    let response = post(&server, "/v1/messages", &hello(true)).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"7".parse().unwrap()));
}

#[tokio::test]
async fn an_error_in_mid_stream_is_an_error_event_and_the_end() {
    let breaks: [fn() -> Step; 2] = [|| Step::Fail(BackendError::new(ErrorKind::Overloaded, "gone")), || Step::Panic];
    for (step, expected) in breaks.into_iter().zip(["overloaded_error", "api_error"]) {
        let server = serving(move |_| {
            let mut steps = answer(&[json!({"text": "half"})]);
            steps.truncate(3);
            steps.push(step());
            Ok(steps)
        });
        let body = post(&server, "/v1/messages", &hello(true)).await.text().await.unwrap();
        assert_eq!(names(&body).last(), Some(&"error"), "{body}");
        let data = body.lines().rfind(|line| line.starts_with("data: ")).unwrap();
        let envelope: Value = serde_json::from_str(&data["data: ".len()..]).unwrap();
        assert_eq!((&envelope["type"], &envelope["error"]["type"]), (&json!("error"), &json!(expected)));
        // The same answer unstreamed is an error response.
        assert_eq!(error(post(&server, "/v1/messages", &hello(false)).await).await.1, expected);
    }
}

#[tokio::test]
async fn an_answer_without_message_stop_is_an_error() {
    let server = serving(|_| {
        let mut steps = answer(&[json!({"text": "half"})]);
        steps.pop();
        Ok(steps)
    });
    let body = post(&server, "/v1/messages", &hello(true)).await.text().await.unwrap();
    assert_eq!(names(&body).last(), Some(&"error"));
    assert_eq!(error(post(&server, "/v1/messages", &hello(false)).await).await.0, 500);
}

/// A server whose answers never end: silent before these many steps.
fn never_finished(steps_before: usize) -> Served {
    serving(move |_| {
        let mut steps = answer(&[json!({"text": "never finished"})]);
        steps.insert(steps_before, Step::Wait(Arc::new(Notify::new())));
        Ok(steps)
    })
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_begins_cancels_the_backend() {
    let server = never_finished(0);
    let request = client().post(format!("{}/v1/messages", server.url)).json(&hello(false)).send();
    let request = tokio::spawn(request);
    server.backend.requests.reaches(1).await;
    request.abort();
    server.backend.is_cancelled().await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_answer_cancels_the_backend() {
    let server = never_finished(3);
    let mut chunks = post(&server, "/v1/messages", &hello(true)).await.bytes_stream();
    let mut body = String::new();
    while !body.contains("event: content_block_delta") {
        body.push_str(std::str::from_utf8(&chunks.next().await.unwrap().unwrap()).unwrap());
    }
    drop(chunks);
    server.backend.is_cancelled().await;
}

#[tokio::test]
async fn an_answer_in_flight_outlives_the_shutdown() {
    let go = Arc::new(Notify::new());
    let waiting = go.clone();
    let backend = Arc::new(Scripted::new(move |_| {
        let mut steps = answer(&[json!({"text": "finished"})]);
        steps.insert(2, Step::Wait(waiting.clone()));
        Ok(steps)
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::new(backend, ServerOptions::default());
    let run = tokio::spawn(async move {
        server.run(listener, async { stopped.await.unwrap() }).await.unwrap();
        server.totals()
    });
    let mut chunks = client().post(format!("{url}/v1/messages")).json(&hello(true)).send().await.unwrap().bytes_stream();
    let mut body = chunks.next().await.unwrap().unwrap().to_vec();
    stop.send(()).unwrap();
    go.notify_one();
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(names(std::str::from_utf8(&body).unwrap()).last(), Some(&"message_stop"));
    let totals = soon("the server's end", run).await.unwrap();
    assert_eq!((totals.requests, totals.prompt_tokens, totals.cached_tokens, totals.output_tokens), (1, 42, 30, 7));
}

#[tokio::test]
async fn bad_bodies_get_a_400_that_names_the_field() {
    let server = serving(text_and_tool);
    let block = json!({"type": "text"});
    for (path, body, expected) in [
        ("/v1/messages", json!({"model": "m", "messages": []}), "max_tokens: Field required"),
        (
            "/v1/messages",
            json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [block]}]}),
            "messages.0.content.0.text.text: Field required",
        ),
        ("/v1/messages", json!({"model": "m", "max_tokens": 1, "messages": []}), "messages: at least one message is required"),
        ("/v1/messages/count_tokens", json!({"model": "m", "messages": []}), "messages: at least one message is required"),
        ("/v1/messages/count_tokens", json!({"model": "m"}), "messages: Field required"),
    ] {
        let (status, kind, message) = error(post(&server, path, &body).await).await;
        assert_eq!((status, kind.as_str()), (400, "invalid_request_error"));
        assert!(message.starts_with(expected), "{message}");
    }
    let response = client().post(format!("{}/v1/messages", server.url)).body("{nonsense").send().await.unwrap();
    assert_eq!(error(response).await.0, 400);
    assert!(server.backend.requests.all().is_empty(), "nothing of this may reach the backend");
}

#[tokio::test]
async fn fields_and_betas_that_nobody_knows_are_accepted() {
    let server = serving(text_and_tool);
    let mut body = hello(false);
    body["context_management"] = json!({"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]});
    body["from_the_future"] = json!(true);
    let request = client().post(format!("{}/v1/messages?beta=true", server.url));
    let response = request.header("anthropic-beta", "nobody-knows-2099-01-01").json(&body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(server.backend.requests.all()[0].extra["from_the_future"], true);
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413() {
    let server = serving(text_and_tool);
    let body = vec![b' '; anyclaude::server::BODY_LIMIT + 1];
    let response = client().post(format!("{}/v1/messages", server.url)).body(body).send().await.unwrap();
    assert_eq!(error(response).await, (413, "request_too_large".into(), "the request is larger than 32 MiB".into()));
}

#[tokio::test]
async fn unknown_paths_and_methods_get_the_envelope() {
    let server = serving(text_and_tool);
    assert_eq!(
        error(get(&server, "/v2/nothing").await).await,
        (404, "not_found_error".into(), "no such path: /v2/nothing".into())
    );
    assert_eq!(
        error(get(&server, "/v1/messages").await).await,
        (405, "invalid_request_error".into(), "method not allowed".into())
    );
}

#[tokio::test]
async fn a_panic_before_the_first_event_is_a_500_and_the_server_lives() {
    let server = serving(|request| if request.max_tokens == 13 { panic!("a scripted bug") } else { text_and_tool(request) });
    let mut unlucky = hello(true);
    unlucky["max_tokens"] = json!(13);
    assert_eq!(error(post(&server, "/v1/messages", &unlucky).await).await.0, 500);
    assert_eq!(post(&server, "/v1/messages", &hello(true)).await.status(), 200);
}
