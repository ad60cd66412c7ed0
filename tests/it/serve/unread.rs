//! Sixteen clients that do not read what they asked for: they keep nobody from an answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyclaude::backend::mlx::{ClientLimits, MlxBackend};
use anyclaude::engine::EngineOptions;
use anyclaude::server::ServerOptions;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::block_in_place;

use crate::support::deadline::{soon, until};
use crate::support::http::{get, post};
use crate::support::output::line_of;
use crate::support::{MODEL, listen};

/// As many as the engine answers at once.
const SLOTS: usize = 16;

/// How long an answer may wait for its client here. In earnest it is half a minute.
const STALL: Duration = Duration::from_millis(100);

/// What the client's side of a connection holds, in bytes: the least that systems allow, or near it.
const RECEIVE_BUFFER: u32 = 2048;

/// A text that the model continues up to its limit. Each chunk repeats the model's name: with a long one, the answer is far
/// longer than what all buffers on its way hold.
fn long_answer() -> Value {
    json!({"model": "m".repeat(2000), "prompt": "1 2 3", "max_tokens": 1000, "temperature": 0, "stream": true})
}

/// A connection that has asked and does not read.
async fn asked(host: &str, body: &Value) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
    let mut connection = socket.connect(host.parse().unwrap()).await.unwrap();
    let body = body.to_string();
    let head = format!("POST /v1/completions HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    connection
}

/// Reads until the stream's end, which is an empty chunk: the connection stays open.
async fn read_to_the_end(mut connection: TcpStream) -> String {
    let (mut read, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    while !read.ends_with(b"\r\n0\r\n\r\n") {
        let count = soon("more of an answer", connection.read(&mut buffer)).await.unwrap();
        assert!(count > 0, "the connection ended in the middle");
        read.extend(&buffer[..count]);
    }
    String::from_utf8(read).unwrap()
}

/// How many answers the server counts as begun and not ended.
fn in_flight(url: &str) -> usize {
    let metrics = get(&format!("{url}/metrics")).text;
    let line = metrics.lines().find_map(|line| line.strip_prefix("anyclaude_requests_in_flight "));
    line.unwrap().parse().unwrap()
}

/// The address of a server with these limits, and the connections of clients that take all its slots and do not read.
async fn all_slots_taken(limits: ClientLimits) -> (String, Vec<TcpStream>) {
    let backend = MlxBackend::load(Path::new(MODEL), EngineOptions::default()).unwrap().with_limits(limits);
    let url = listen::backend(Arc::new(backend), ServerOptions::default());
    let mut unread = Vec::new();
    for _ in 0..SLOTS {
        unread.push(asked(url.strip_prefix("http://").unwrap(), &long_answer()).await);
    }
    block_in_place(|| until("sixteen answers", || (in_flight(&url) == SLOTS).then_some(())));
    (url, unread)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_all_slots_taken_others_are_told_when_to_try_again() {
    let limits = ClientLimits { most_waiting: 0, ..ClientLimits::default() };
    let (url, unread) = all_slots_taken(limits).await;
    let messages = json!([{"role": "user", "content": "Hi"}]);
    for (path, status) in [
        ("/v1/messages", 529),
        ("/v1/messages/count_tokens", 529),
        ("/v1/chat/completions", 503),
        ("/v1/responses", 503),
        ("/v1/completions", 503),
    ] {
        let mut body = json!({"model": "m", "max_tokens": 1, "stream": true});
        match path {
            "/v1/responses" => body["input"] = json!("Hi"),
            "/v1/completions" => body["prompt"] = json!("Hi"),
            _ => body["messages"] = messages.clone(),
        }
        let refused = block_in_place(|| post(&format!("{url}{path}"), &body));
        assert_eq!((refused.status, refused.retry_after.as_deref()), (status, Some("5")), "{path}: {}", refused.text);
    }
    // The device must be idle before the process ends.
    drop(unread);
    let short = json!({"prompt": "Hi", "max_tokens": 1});
    block_in_place(|| until("a free slot", || (post(&format!("{url}/v1/completions"), &short).status == 200).then_some(())));
    block_in_place(|| until("the answers' end", || (in_flight(&url) == 0).then_some(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_keep_nobody_from_an_answer() {
    let limits = ClientLimits { longest_stall: STALL, ..ClientLimits::default() };
    let (url, unread) = all_slots_taken(limits).await;
    let host = url.strip_prefix("http://").unwrap();

    let next = asked(host, &json!({"prompt": "Hello", "max_tokens": 3, "stream": true})).await;
    let answer = read_to_the_end(next).await;
    assert!(answer.contains("\"finish_reason\":\"length\"") && !answer.contains("error"), "{answer}");
    assert_eq!(block_in_place(|| in_flight(&url)), SLOTS, "the others were still there: none of them had been read to its end");
    let mut cancelled = 0;
    for connection in unread {
        let answer = read_to_the_end(connection).await;
        // On a busy machine, some are not computed far enough to wait for their clients before these read.
        if answer.contains("\"finish_reason\":\"length\"") {
            continue;
        }
        cancelled += 1;
        insta::allow_duplicates! { insta::assert_snapshot!(line_of(&answer, "data: {\"error\""), @r#"data: {"error":{"message":"the answer was cancelled because the client did not read it","type":"server_error","param":null,"code":"service_unavailable"}}"#) }
    }
    assert!(cancelled > 0, "all answers fitted in the buffers on their way");
}
