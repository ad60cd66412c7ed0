//! The routes beside the Messages API's own: counting, models, health, metrics, the cache; and the key that guards them.

use anyclaude::backend::Backend;
use anyclaude::server::ServerOptions;
use reqwest::Method;
use serde_json::{Value, json};

use super::hello;
use crate::support::http::{Reply, client, get, post, send};
use crate::support::scripted::{Scripted, Served, answer};

fn scripted() -> Scripted {
    Scripted::new(|_| Ok(answer(&[json!({"text": "Let me look."}), json!({"tool": "Read", "input": {"file_path": "a.txt"}})])))
}

fn url(server: &Served, path: &str) -> String {
    format!("{}{path}", server.url)
}

/// The routes that people are told of.
const ROUTES: [&str; 11] = [
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/completions",
    "/v1/models",
    "/health",
    "/metrics",
    "/cache",
    "/cache/clear",
    "/cache/keep-only",
];

/// Whether a text has this route as a word.
fn names(text: &str, route: &str) -> bool {
    text.split(|c: char| c.is_whitespace() || ",;\"".contains(c)).any(|word| word == route)
}

#[test]
fn count_tokens_needs_no_max_tokens() {
    let server = scripted().serve();
    let body = json!({"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "hi"}]});
    let counted = post(&url(&server, "/v1/messages/count_tokens?beta=true"), &body).json();
    assert_eq!(counted, json!({"input_tokens": 10}));
}

#[test]
fn models_lists_the_local_one_and_knows_every_claude() {
    let server = scripted().serve();
    let mut list = get(&url(&server, "/v1/models")).json();
    let created = list["data"][0]["created_at"].take();
    assert!(created.as_str().unwrap().ends_with('Z'));
    assert!(list["data"][0]["created"].take().is_i64());
    insta::assert_json_snapshot!(list, @r#"
    {
      "object": "list",
      "data": [
        {
          "type": "model",
          "id": "scripted",
          "display_name": "scripted",
          "created_at": null,
          "object": "model",
          "created": null,
          "owned_by": "anyclaude",
          "max_input_tokens": 65536,
          "context_length": 65536,
          "max_tokens": 4096
        }
      ],
      "has_more": false,
      "first_id": "scripted",
      "last_id": "scripted"
    }
    "#);
    for (id, status) in [("scripted", 200), ("claude-opus-5-5", 200), ("gpt-9", 404)] {
        assert_eq!(get(&url(&server, &format!("/v1/models/{id}"))).status, status, "{id}");
    }
}

#[test]
fn root_and_health_answer() {
    let server = scripted().serve();
    for method in [Method::HEAD, Method::GET] {
        assert_eq!(send(client().request(method, &server.url)).unwrap().status, 200);
    }
    let (root, readme) = (get(&server.url).text, include_str!("../../../README.md"));
    for route in ROUTES {
        assert!(names(&root, route), "{route} is not in {root}");
        assert!(readme.contains(&format!("`{route}`")), "README does not name {route}");
    }
    let unknown = get(&url(&server, "/v1/embeddings")).text;
    for route in ROUTES.iter().filter(|route| route.starts_with("/v1/")) {
        assert!(names(&unknown, route), "{route} is not in {unknown}");
    }
    let health = get(&url(&server, "/health")).json();
    let fields = ["status", "server", "version", "model", "prefix_cache"];
    let known = fields.map(|field| health[field].as_str().unwrap().to_owned());
    assert_eq!(known, ["ok", "anyclaude", env!("CARGO_PKG_VERSION"), "scripted", "hidden"]);
    assert!(health["uptime_s"].is_u64());
}

#[test]
fn metrics_count_requests_tokens_and_latencies() {
    let server = scripted().serve();
    for stream in [true, false] {
        post(&url(&server, "/v1/messages"), &hello(stream)).succeeds();
    }
    get(&url(&server, "/somewhere/else"));
    let text = get(&url(&server, "/metrics")).text;
    for line in [
        "anyclaude_requests_total{path=\"/v1/messages\",status=\"200\"} 2",
        "anyclaude_requests_total{path=\"other\",status=\"404\"} 1",
        "anyclaude_requests_in_flight 0",
        "anyclaude_input_tokens_total 24",
        "anyclaude_cache_read_input_tokens_total 60",
        "anyclaude_cache_creation_input_tokens_total 0",
        "anyclaude_output_tokens_total 14",
        "anyclaude_tool_calls_total 2",
        "anyclaude_answers_total{outcome=\"complete\"} 2",
        "anyclaude_ttft_seconds_count 2",
        "anyclaude_e2e_seconds_count 2",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_key_is_asked_for_where_one_is_set() {
    let server = scripted().serve_with(ServerOptions { api_key: Some("secret".into()), ..ServerOptions::default() });
    for (header, value, status) in [
        ("x-other", "secret", 401),
        ("x-api-key", "wrong", 401),
        ("authorization", "Bearer wrong", 401),
        ("x-api-key", "secret", 200),
        ("authorization", "Bearer secret", 200),
        ("authorization", "bearer  secret", 200),
        ("authorization", "Basic secret", 401),
    ] {
        let request = client().post(url(&server, "/v1/messages")).header(header, value).json(&hello(true));
        assert_eq!(send(request).unwrap().status, status, "{header}: {value}");
    }
    assert_eq!(get(&url(&server, "/v1/models")).json()["error"]["type"], "authentication_error");
    let refusal = |path: &str, key: &str| {
        let request = client().post(url(&server, path));
        let request = if key.is_empty() { request } else { request.bearer_auth(key) };
        let error = send(request).unwrap().json()["error"].take();
        format!("{} {}", error["message"].as_str().unwrap(), error["code"])
    };
    let refusals = ["/v1/messages", "/v1/chat/completions"].map(|path| ["", "wrong"].map(|key| refusal(path, key)).join("\n"));
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    this server needs an API key: send it as x-api-key null
    invalid x-api-key null
    You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). "invalid_api_key"
    Incorrect API key provided. "invalid_api_key"
    "#);
    assert_eq!(get(&url(&server, "/health")).status, 200);
}

/// Asserts that an error's body is in the protocol that a path belongs to.
#[track_caller]
fn has_its_envelope(path: &str, reply: &Reply) {
    let body = reply.json();
    let openais = ["/v1/chat/completions", "/v1/responses", "/v1/completions"];
    match openais.iter().any(|route| path.starts_with(route)) {
        true => assert!(body.get("type").is_none() && body["error"].get("param").is_some(), "{path}: {reply:?}"),
        false => assert!(body["type"] == "error" && body["request_id"].is_string(), "{path}: {reply:?}"),
    }
}

#[test]
fn every_route_says_in_its_protocol_what_is_wrong() {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    let routes = [
        (POST, "/v1/messages"),
        (POST, "/v1/messages/count_tokens"),
        (POST, "/v1/chat/completions"),
        (POST, "/v1/responses"),
        (POST, "/v1/completions"),
        (GET, "/v1/models"),
        (GET, "/v1/models/m"),
        (GET, "/metrics"),
        (GET, "/cache"),
        (POST, "/cache/clear"),
        (POST, "/cache/keep-only"),
    ];
    let open = scripted().with_cache().serve();
    let guarded = scripted().serve_with(ServerOptions { api_key: Some("secret".into()), ..ServerOptions::default() });
    for (method, path) in routes {
        let unknown = format!("{path}/x/y");
        for (server, method, path, status) in
            [(&guarded, method, path, 401), (&open, Method::PUT, path, 405), (&open, GET, unknown.as_str(), 404)]
        {
            let reply = send(client().request(method.clone(), url(server, path))).unwrap();
            assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
            has_its_envelope(path, &reply);
        }
    }
    let embeddings = client().post(url(&open, "/v1/embeddings"));
    let of_openai = send(embeddings.try_clone().unwrap().bearer_auth("x")).unwrap();
    assert!(of_openai.status == 404 && of_openai.json()["error"].get("param").is_some(), "{of_openai:?}");
    let unknown_model = send(client().get(url(&open, "/v1/models/gpt-x")).bearer_auth("x")).unwrap();
    let error = &unknown_model.json()["error"];
    assert_eq!((unknown_model.status, &error["code"], &error["param"]), (404, &json!("model_not_found"), &json!("model")));
    assert_eq!(error["message"], "The model 'gpt-x' does not exist");
    let base = send(client().post(url(&open, "/v1")).bearer_auth("x")).unwrap();
    assert!(base.status == 404 && base.json()["error"]["message"].as_str().unwrap().contains("/v1/chat/completions"), "{base:?}");
    has_its_envelope("/v1/embeddings", &send(embeddings.bearer_auth("x").header("anthropic-version", "2023-06-01")).unwrap());
}

#[test]
fn a_bodys_content_type_does_not_matter_and_its_encoding_does() {
    let server = scripted().serve();
    for path in ["/v1/messages", "/v1/messages/count_tokens", "/v1/chat/completions"] {
        let request = || client().post(url(&server, path)).body(hello(false).to_string());
        assert_eq!(send(request()).unwrap().status, 200, "{path} without a content type");
        for content_type in ["application/json", "text/plain", "application/xml; charset=latin1", "nonsense"] {
            let reply = send(request().header("content-type", content_type)).unwrap();
            assert_eq!(reply.status, 200, "{path} {content_type}: {reply:?}");
        }
        for encoding in ["gzip", "br", "nonsense"] {
            let reply = send(request().header("content-encoding", encoding)).unwrap();
            assert_eq!(reply.status, 400, "{path} {encoding}: {reply:?}");
            let message = reply.json()["error"]["message"].as_str().unwrap().replace(encoding, "[encoding]");
            insta::allow_duplicates! { insta::assert_snapshot!(message, @"content-encoding [encoding] is not supported: send the body uncompressed") }
            has_its_envelope(path, &reply);
        }
        let cut = send(client().post(url(&server, path)).body(b"{\"model\": \"\xff\"}".to_vec())).unwrap();
        assert_eq!(cut.status, 400, "{path}: {cut:?}");
    }
}

#[test]
fn the_cache_is_controlled_over_http_where_there_is_one() {
    let without = scripted().serve();
    assert_eq!(post(&url(&without, "/cache/clear"), &Value::Null).status, 501);
    let with = scripted().with_cache().serve();
    assert_eq!(post(&url(&with, "/cache/clear"), &Value::Null).status, 204);
    assert_eq!(post(&url(&with, "/cache/keep-only"), &hello(true)).status, 204);
    assert_eq!(with.backend.cache_calls.all(), ["clear", "warm claude-opus-5-5"]);
    assert!(with.backend.requests.all().is_empty());
    assert!(with.backend.cache().is_some());
}
