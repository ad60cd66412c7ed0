//! Web pages: those of the origins that were asked for may use the server, no other page may.

use std::collections::BTreeSet;

use anyclaude::server::{Allowed, ServerOptions};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::json;

use crate::support::http::{client, get, send};
use crate::support::scripted::{Scripted, Served, answer};

fn serving(options: ServerOptions) -> Served {
    Scripted::new(|_| Ok(answer(&[json!({"text": "Hi"})]))).with_cache().serve_with(options)
}

fn hello(server: &Served) -> RequestBuilder {
    let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    client().post(format!("{}/v1/messages", server.url)).json(&body)
}

#[test]
fn a_foreign_page_is_refused_whatever_it_asks_for() {
    let server = serving(ServerOptions::default());
    let mut refusals = BTreeSet::new();
    for (method, path) in [
        (Method::POST, "/v1/messages"),
        (Method::POST, "/v1/messages/count_tokens"),
        (Method::POST, "/v1/chat/completions"),
        (Method::POST, "/cache/clear"),
        (Method::POST, "/cache/keep-only"),
        (Method::GET, "/cache"),
        (Method::GET, "/metrics"),
        (Method::OPTIONS, "/v1/messages"),
    ] {
        for (header, value) in [("origin", "https://evil.example"), ("origin", "null"), ("host", "evil.example:8081")] {
            let request = client().request(method.clone(), format!("{}{path}", server.url));
            let reply = send(request.header(header, value).header("content-type", "text/plain").body("{}")).unwrap();
            assert_eq!(reply.status, 403, "{method} {path} {header}: {value}: {reply:?}");
            refusals.insert(reply.json()["error"]["message"].as_str().unwrap().to_owned());
        }
    }
    insta::assert_snapshot!(Vec::from_iter(refusals).join("\n"), @"
    this server is not known as evil.example:8081: call it localhost
    web pages of https://evil.example may not use this server
    web pages of null may not use this server
    ");
    assert!(server.backend.requests.all().is_empty() && server.backend.cache_calls.all().is_empty());
    assert_eq!(send(hello(&server)).unwrap().status, 200);
}

#[tokio::test]
async fn a_page_that_was_asked_for_may_ask_and_read() {
    let allowed = Allowed { origins: vec!["https://app.example".parse().unwrap()], ..Allowed::default() };
    let options = ServerOptions { allowed, api_key: Some("secret".into()), ..ServerOptions::default() };
    let server = serving(options);
    let asks_first = client()
        .request(Method::OPTIONS, format!("{}/v1/messages", server.url))
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "x-api-key,anthropic-version")
        .header("access-control-request-private-network", "true");
    let allowed = asks_first.send().await.unwrap();
    assert_eq!(allowed.status(), 200);
    let header = |name: &str| allowed.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("access-control-allow-origin"), "https://app.example");
    assert_eq!(header("access-control-allow-headers"), "x-api-key,anthropic-version");
    assert_eq!(header("access-control-allow-private-network"), "true");
    assert!(header("access-control-allow-methods").contains("POST"));

    let asks = hello(&server).header("origin", "https://app.example");
    let refused = asks.try_clone().unwrap().send().await.unwrap();
    let readable_by = |response: &Response| response.headers()["access-control-allow-origin"].to_str().unwrap().to_owned();
    assert_eq!((refused.status().as_u16(), &*readable_by(&refused)), (401, "https://app.example"));
    let answered = asks.header("x-api-key", "secret").send().await.unwrap();
    assert_eq!((answered.status().as_u16(), &*readable_by(&answered)), (200, "https://app.example"));
    let exposed = answered.headers()["access-control-expose-headers"].to_str().unwrap();
    assert_eq!(exposed, "request-id,x-anyclaude-loosened,retry-after");
}

#[tokio::test]
async fn without_origins_nothing_is_said_to_pages() {
    let server = serving(ServerOptions::default());
    let response = hello(&server).send().await.unwrap();
    assert!(response.headers().keys().all(|name| !name.as_str().starts_with("access-control-")));
}

#[test]
fn a_name_that_was_asked_for_is_answered() {
    let allowed = Allowed { hosts: vec!["gpu.lan".parse().unwrap()], ..Allowed::default() };
    let server = serving(ServerOptions { allowed, ..ServerOptions::default() });
    for (host, status) in [("gpu.lan:8081", 200), ("localhost", 200), ("[::1]:8081", 200), ("other.lan", 403)] {
        let request = client().get(format!("{}/health", server.url)).header("host", host);
        assert_eq!(send(request).unwrap().status, status, "{host}");
    }
    assert_eq!(get(&format!("{}/health", server.url)).status, 200);
}
