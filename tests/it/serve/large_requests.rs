//! Requests of 30 MB, one and many at once: they take no more memory than they may, and other clients are served.

use bytes::Bytes;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::MODEL;
use crate::support::deadline::soon;
use crate::support::http::client;
use crate::support::serving::Serving;

/// The length of a large body's text, in bytes.
const LARGE: usize = 30_000_000;

fn body(path: &str, bytes: usize) -> Bytes {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "some words ".repeat(bytes / 11)}]});
    if path == "/v1/messages" {
        body["max_tokens"] = json!(1);
    }
    body.to_string().into()
}

/// The status, when to try again, and the error's kind and words, if it is one.
type Answered = (u16, bool, Option<String>, String);

async fn asked(server: &Serving, path: &str, body: Bytes) -> Answered {
    let response = client().post(format!("{}{path}", server.url)).body(body).send().await.unwrap();
    let (status, again) = (response.status().as_u16(), response.headers().contains_key("retry-after"));
    let answer: Value = response.json().await.unwrap();
    let word = |name: &str| answer["error"][name].as_str().map(str::to_owned);
    (status, again, word("type"), word("message").unwrap_or_default())
}

fn is_refused_for_now(answered: &Answered) -> bool {
    *answered
        == (
            529,
            true,
            Some("overloaded_error".into()),
            "the requests that are here take all memory that they may: try again".into(),
        )
}

fn is_too_long((status, _, kind, words): &Answered) -> bool {
    *status == 400 && kind.as_deref() == Some("invalid_request_error") && words.starts_with("prompt is too long: ")
}

/// A request whose last byte does not come, and that byte.
async fn unfinished(server: &Serving, body: &Bytes) -> (TcpStream, u8) {
    let host = server.url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(host).await.unwrap();
    let head =
        format!("POST /v1/messages HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&body[..body.len() - 1]).await.unwrap();
    (connection, body[body.len() - 1])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_the_memory_for_requests_is_refused_for_now_and_others_are_served() {
    let server = Serving::start(MODEL, &["--request-memory", "64MB"]);
    let large = body("/v1/messages", LARGE);
    let mut unfinished = [unfinished(&server, &large).await, unfinished(&server, &large).await];
    // Once the server has read both.
    soon("a refusal", async { while !is_refused_for_now(&asked(&server, "/v1/messages", large.clone()).await) {} }).await;
    let at_once = join_all((0..20).map(|_| asked(&server, "/v1/messages", large.clone()))).await;
    assert!(at_once.iter().all(is_refused_for_now), "{at_once:?}");
    assert_eq!(asked(&server, "/v1/messages", body("/v1/messages", 100)).await.0, 200);

    for (connection, last) in &mut unfinished {
        connection.write_all(&[*last]).await.unwrap();
        let mut answer = String::new();
        soon("an answer", connection.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("prompt is too long: "), "{answer}");
    }
    let at_once = join_all((0..20).map(|_| asked(&server, "/v1/messages", large.clone()))).await;
    assert!(at_once.iter().all(|answered| is_refused_for_now(answered) || is_too_long(answered)), "{at_once:?}");
    assert!(is_too_long(&asked(&server, "/v1/messages", large).await));
    assert_eq!(asked(&server, "/v1/messages", body("/v1/messages", 100)).await.0, 200);
}

/// What the server's process takes, in bytes.
async fn resident(server: &Serving) -> u64 {
    let report = client().get(format!("{}/cache", server.url)).send().await.unwrap();
    report.json::<Value>().await.unwrap()["memory"]["rss_bytes"].as_u64().unwrap()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_large_requests_is_given_back() {
    let server = Serving::start(MODEL, &[]);
    let path = "/v1/messages/count_tokens";
    // One long text, and as much in a hundred thousand short ones.
    let block = json!({"type": "text", "text": "some words ".repeat(20)});
    let blocks = vec![block; LARGE / 250];
    let blocks: Bytes = json!({"model": "m", "messages": [{"role": "user", "content": blocks}]}).to_string().into();
    assert_eq!(asked(&server, path, body(path, 1_000)).await.0, 200);
    let before = resident(&server).await;
    for large in [body(path, LARGE), blocks] {
        let at_once = join_all((0..6).map(|_| asked(&server, path, large.clone()))).await;
        assert!(at_once.iter().all(is_too_long), "{at_once:?}");
    }
    // What six of them take while they are here is several times as much.
    let given_back = async { while resident(&server).await > before + 2 * LARGE as u64 {} };
    soon("the memory", given_back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tokens_of_30_mb_are_not_counted() {
    let server = Serving::start(MODEL, &[]);
    let path = "/v1/messages/count_tokens";
    let far_too_long = asked(&server, path, body(path, LARGE)).await;
    assert!(is_too_long(&far_too_long), "{far_too_long:?}");
    // This is too long for an answer, and counted all the same.
    let too_long = asked(&server, path, body(path, 600_000)).await;
    assert_eq!(too_long.0, 200, "{too_long:?}");
}
