//! The remote backend against real sockets: our own server, and others that misbehave.

use std::io::ErrorKind;
use std::time::Duration;

use anyclaude::backend::remote::RemoteBackend;
use anyclaude::backend::{Backend, BackendError, CacheAccess, ModelLimits};
use anyclaude::server::ServerOptions;
use anyclaude::wire::{self, Assembler, ContentBlock, Message, MessagesRequest, StreamEvent};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::support::deadline::{receive, soon};
use crate::support::listen;
use crate::support::sandbox::portable;
use crate::support::scripted::{Scripted, Served, Step, answer};
use crate::support::upstream::{Upstream, frames};

fn request() -> MessagesRequest {
    serde_json::from_value(json!({
        "model": "claude-opus-5-5", "max_tokens": 100, "temperature": 0.0, "metadata": {"user_id": "u"},
        "messages": [{"role": "user", "content": "hi"}]
    }))
    .unwrap()
}

fn ours() -> Served {
    let blocks = [json!({"text": "Ünïcode → ok"}), json!({"tool": "Read", "input": {"file_path": "a.txt"}})];
    Scripted::new(move |_| Ok(answer(&blocks))).with_cache().serve()
}

/// A server that answers every connection with this text, a few bytes at a time, and closes it.
fn raw(response: &'static str) -> String {
    let upstream = Upstream::start(move |_, answer| {
        response.as_bytes().chunks(7).try_for_each(|piece| answer.raw(piece))?;
        Err(ErrorKind::ConnectionAborted.into())
    });
    upstream.url()
}

async fn connect(url: &str) -> RemoteBackend {
    soon("a connection", RemoteBackend::new(url)).await.unwrap()
}

/// The whole answer, or its first error.
async fn message(backend: &RemoteBackend, request: MessagesRequest) -> Result<Message, BackendError> {
    soon("the answer", async {
        let mut assembler = Assembler::default();
        let mut events = backend.messages(request).await?;
        while let Some(event) = events.next().await {
            assembler.push(&event?).unwrap();
        }
        Ok(assembler.finish().unwrap())
    })
    .await
}

/// The first error of the answer, wherever it comes.
async fn failure(url: &str) -> BackendError {
    message(&connect(url).await, request()).await.unwrap_err()
}

#[tokio::test]
async fn events_arrive_as_they_were_sent() {
    let server = ours();
    let remote = connect(&format!("{}/", server.url)).await;
    assert_eq!((remote.name(), remote.model()), (server.url.clone(), "scripted".into()));
    let message = message(&remote, request()).await.unwrap();
    let [ContentBlock::Text { text, .. }, ContentBlock::ToolUse { name, input, .. }] = &message.content[..] else {
        panic!("{message:?}");
    };
    assert_eq!((text.as_str(), name.as_str(), input), ("Ünïcode → ok", "Read", &json!({"file_path": "a.txt"})));
    let seen = server.backend.requests.all().remove(0);
    assert_eq!((seen.stream, &seen.extra["metadata"]), (true, &json!({"user_id": "u"})), "always streamed, nothing lost");
}

#[tokio::test]
async fn tokens_are_counted_without_what_the_path_refuses() {
    let server = ours();
    let remote = connect(&server.url).await;
    assert_eq!(soon("the count", remote.count_tokens(request())).await.unwrap(), 10);
    let seen = server.backend.requests.all().remove(0);
    assert!(!seen.extra.contains_key("metadata") && seen.temperature.is_none(), "{seen:?}");
}

#[tokio::test]
async fn the_cache_of_an_anyclaude_server_is_controlled() {
    let server = ours();
    let remote = connect(&server.url).await;
    let cache = remote.cache().expect("an anyclaude server");
    soon("the cache's answer", cache.clear()).await.unwrap();
    soon("the cache's answer", cache.keep_shared_prefix(request())).await.unwrap();
    assert_eq!(server.backend.cache_calls.all(), ["clear", "warm claude-opus-5-5"]);
}

#[tokio::test]
async fn an_anyclaude_server_says_that_its_cache_is_out_of_reach() {
    let server = Scripted::new(|_| Ok(answer(&[json!({"text": "Hi"})]))).serve();
    let remote = connect(&server.url).await;
    assert!(remote.cache().is_none() && remote.cache_access() == CacheAccess::Hidden);
    assert_eq!(remote.model(), "scripted");
}

#[tokio::test]
async fn the_limits_of_an_anyclaude_servers_model_are_known() {
    let ours = ours();
    let limits = soon("the limits", connect(&ours.url).await.limits()).await;
    assert_eq!(limits, ModelLimits { context: Some(65_536), output: Some(4_096) });
}

#[tokio::test]
async fn another_server_has_no_cache_to_control() {
    let url = raw("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let remote = connect(&url).await;
    assert!(remote.cache().is_none());
    assert_eq!(remote.model(), "as requested");
}

#[tokio::test]
async fn an_error_status_keeps_its_envelope_and_retry_after() {
    let url = raw("HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\nconnection: close\r\n\r\n\
         {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow down\"}}");
    let error = failure(&url).await;
    assert_eq!(error.to_string(), "rate_limit_error: slow down");
    assert!(matches!(&error, BackendError::Answered { status: 429, retry_after: Some(s), .. } if s == "7"), "{error:?}");
}

#[tokio::test]
async fn an_error_page_is_told_with_its_status_and_address() {
    let url = raw("HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\n\r\n<html>nginx</html>");
    assert_eq!(failure(&url).await.to_string(), format!("api_error: {url} answered 502 Bad Gateway: <html>nginx</html>"));
}

#[tokio::test]
async fn an_error_in_mid_stream_is_an_error() {
    let server = Scripted::new(|_| {
        let mut steps = answer(&[json!({"text": "half"})]);
        steps.truncate(3);
        steps.push(Step::Fail(BackendError::new(wire::ErrorKind::Overloaded, "busy")));
        Ok(steps)
    });
    let server = server.serve();
    let error = failure(&server.url).await;
    assert!(matches!(&error, BackendError::Answered { status: 529, .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_not_the_protocol_is_told() {
    const HEAD: &str = "does not speak the Messages API: ";
    for (response, reason) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\nhello",
            "asked for a stream, it answered with text/html",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: {oops\n\n",
            "an event is not JSON",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
            "the stream ended without message_stop",
        ),
    ] {
        let url = raw(response);
        let error = failure(&url).await.to_string();
        assert!(error.starts_with(&format!("{url} {HEAD}{reason}")), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_names_the_address() {
    let url = raw("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\nevent: ping\n");
    let error = failure(&url).await;
    assert!(matches!(&error, BackendError::Unreachable { address, .. } if *address == url), "{error:?}");
}

#[tokio::test]
async fn nobody_there_names_the_address() {
    let url = listen::nobody();
    let error = soon("an error", RemoteBackend::new(&url)).await.err().unwrap().to_string();
    insta::assert_snapshot!(portable(&error.replace(&url, "[url]")), @"[url]: Connection refused (os error [number])");
}

#[tokio::test]
async fn an_unknown_event_is_passed_on() {
    let future: Value = json!({"type": "from_the_future", "x": 1});
    let event = StreamEvent::Other(future.clone());
    let server = Scripted::new(move |_| {
        let mut steps = answer(&[json!({"text": "hi"})]);
        steps.insert(1, Step::Event(Box::new(event.clone())));
        Ok(steps)
    });
    let server = server.serve();
    let remote = connect(&server.url).await;
    let events = soon("the answer", remote.messages(request())).await.unwrap();
    let events: Vec<_> = soon("the answer's end", events.map(Result::unwrap).collect()).await;
    assert!(events.contains(&StreamEvent::Other(future)));
}

#[tokio::test]
async fn dropping_the_stream_cancels_the_request() {
    let server = Scripted::new(|_| {
        let mut steps = answer(&[json!({"text": "never finished"})]);
        steps.insert(3, Step::Wait(Default::default()));
        Ok(steps)
    });
    let server = server.serve_with(ServerOptions { ping_every: Duration::from_millis(20), ..ServerOptions::default() });
    let mut events = soon("the answer", connect(&server.url).await.messages(request())).await.unwrap();
    assert!(matches!(soon("its first event", events.next()).await, Some(Ok(StreamEvent::MessageStart { .. }))));
    drop(events);
    server.backend.is_cancelled().await;
}

#[tokio::test]
async fn caches_on_the_way_are_told_what_requests_share_and_their_figures_come_back() {
    let (sender, told) = std::sync::mpsc::channel();
    let server = Upstream::start(move |request, answer| {
        if !request.line.starts_with("POST") {
            return answer.whole(404, &[], "");
        }
        let keys = ["x-cache-system", "x-cache-hash"].map(|name| request.header(name).unwrap_or_default().to_owned());
        sender.send(keys).ok();
        let figures = "\"cache_creation_input_tokens\":3,\"cache_read_input_tokens\":40,\"input_tokens\"";
        answer.stream()?;
        answer.chunk(frames().concat().replace("\"input_tokens\"", figures))?;
        answer.end()
    });
    let backend = connect(&server.url()).await;
    for text in ["hi", "something else"] {
        let mut request = request();
        request.messages[0].content = wire::Content::Text(text.into());
        let usage = message(&backend, request).await.unwrap().usage;
        let figures = (usage.cache_creation_input_tokens, usage.cache_read_input_tokens, usage.input_tokens);
        assert_eq!(figures, (Some(3), Some(40), 7));
    }
    // Both requests have the same tools and system prompt, so caches may treat their beginnings alike.
    let [first, second] = [(); 2].map(|()| receive("what a cache on the way is told", &told));
    assert_eq!(first, second);
    assert!(first.iter().all(|key| key.len() == 64), "{first:?}");
}
