//! Clients that leave, that only close their writing side, and what the metrics say of them.

use std::sync::Arc;

use anyclaude::wire::MessagesRequest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::support::deadline::soon;
use crate::support::http::client;
use crate::support::scripted::{Script, Scripted, Served, Step, answer};

/// A server whose answers wait before this step until the test lets them go on.
fn waiting(before: usize) -> (Served, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let gate = go.clone();
    let script = move |_: &MessagesRequest| -> Script {
        let mut steps = answer(&[json!({"text": "Here you are."})]);
        steps.insert(before, Step::Wait(gate.clone()));
        Ok(steps)
    };
    (Scripted::new(script).serve(), go)
}

/// A connection that has sent its request and closed its writing side.
async fn half_closed(server: &Served, path: &str, stream: bool) -> TcpStream {
    let mut connection = sent(server, path, stream, "hi").await;
    connection.shutdown().await.unwrap();
    connection
}

/// A connection that has sent its request.
async fn sent(server: &Served, path: &str, stream: bool, text: &str) -> TcpStream {
    let body = json!({"model": "m", "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": text}]});
    let (host, body) = (server.url.strip_prefix("http://").unwrap(), body.to_string());
    let mut connection = TcpStream::connect(host).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    connection
}

/// Reads until this text comes.
async fn read_until(connection: &mut TcpStream, end: &str) -> String {
    let mut read = String::new();
    while !read.contains(end) {
        let mut buffer = [0; 4096];
        let count = soon(format!("{end:?} after {read:?}"), connection.read(&mut buffer)).await.unwrap();
        assert!(count > 0, "the connection ended after {read:?}");
        read.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    read
}

async fn read_to_end(connection: &mut TcpStream) -> String {
    let mut read = String::new();
    soon("the connection's end", connection.read_to_string(&mut read)).await.unwrap();
    read
}

#[tokio::test]
async fn a_client_that_has_closed_its_writing_side_gets_its_answer() {
    for (path, text) in
        [("/v1/messages", "\"text\":\"Here you are.\""), ("/v1/chat/completions", "\"content\":\"Here you are.\"")]
    {
        let (server, go) = waiting(0);
        let mut connection = half_closed(&server, path, false).await;
        read_until(&mut connection, "HTTP/1.1 100 Continue\r\n\r\n").await;
        go.notify_one();
        let answer = read_to_end(&mut connection).await;
        assert!(answer.contains("HTTP/1.1 200 OK\r\n") && answer.contains(text), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_has_closed_its_writing_side_gets_its_stream() {
    for (path, end) in [("/v1/messages", "message_stop"), ("/v1/chat/completions", "[DONE]")] {
        let (server, go) = waiting(3);
        let mut connection = half_closed(&server, path, true).await;
        read_until(&mut connection, ":\n\n").await;
        go.notify_one();
        let rest = read_to_end(&mut connection).await;
        assert!(rest.contains(end), "{rest}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_after_a_long_request_cancels_it() {
    let (server, _go) = waiting(0);
    let connection = sent(&server, "/v1/messages", false, &"long ".repeat(2_000_000)).await;
    server.backend.requests.reaches(1).await;
    drop(connection);
    server.backend.is_cancelled().await;
}

#[tokio::test]
async fn a_client_that_has_left_is_counted_as_such() {
    let (server, go) = waiting(3);
    let connection = half_closed(&server, "/v1/messages", true).await;
    server.backend.requests.reaches(1).await;
    drop(connection);
    server.backend.is_cancelled().await;
    go.notify_one();
    let post = client().post(format!("{}/v1/messages", server.url));
    let whole: Value = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(post.json(&whole).send().await.unwrap().status(), 200);
    let metrics = client().get(format!("{}/metrics", server.url)).send().await.unwrap().text().await.unwrap();
    for line in ["anyclaude_answers_total{outcome=\"client_left\"} 1", "anyclaude_answers_total{outcome=\"complete\"} 1"] {
        assert!(metrics.lines().any(|l| l == line), "{line} is not in\n{metrics}");
    }
}
