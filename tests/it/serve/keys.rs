//! The key of `anyclaude serve`: where it is needed, what it may be, and what is answered without it.

use reqwest::Method;

use crate::support::MODEL;
use crate::support::http::{client, get, send};
use crate::support::process::run;
use crate::support::sandbox::Sandbox;
use crate::support::serving::Serving;

#[test]
fn an_address_that_others_reach_needs_a_key_and_a_key_must_fit_a_header() {
    let sandbox = Sandbox::new();
    let refused = |flags: &[&str], key: &str| {
        let arguments = [&["serve", "--model", MODEL, "--port", "0"], flags].concat();
        run(sandbox.anyclaude(&arguments).env("ANYCLAUDE_API_KEY", key)).refusal()
    };
    let refusals = [
        refused(&["--host", "0.0.0.0"], ""),
        refused(&["--host", "::", "--api-key", ""], ""),
        refused(&["--api-key", "schlüssel"], ""),
        refused(&["--api-key", " key"], "other"),
        refused(&[], "two\nlines"),
    ];
    insta::assert_snapshot!(refusals.concat(), @"
    exit 2: error: --host 0.0.0.0 can be reached from other machines: set --api-key, so that not everybody there can use it
    exit 2: error: --host :: can be reached from other machines: set --api-key, so that not everybody there can use it
    exit 2: error: --api-key: no HTTP header can carry this key; it may have letters without accents, digits and signs, and no space around it
    exit 2: error: --api-key: no HTTP header can carry this key; it may have letters without accents, digits and signs, and no space around it
    exit 2: error: ANYCLAUDE_API_KEY: no HTTP header can carry this key; it may have letters without accents, digits and signs, and no space around it
    ");
}

#[test]
fn with_a_key_set_whatever_costs_or_tells_something_asks_for_it() {
    let server = Serving::start(MODEL, &["--api-key", "sec ret"]);
    let status = |method: &Method, path: &str, headers: &[(&str, &str)]| {
        let request = client().request(method.clone(), format!("{}{path}", server.url));
        send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body("{}")).unwrap().status
    };
    // With the key it is the empty body that is wrong, or nothing.
    let routes = [
        (Method::POST, "/v1/messages", 400),
        (Method::POST, "/v1/messages/count_tokens", 400),
        (Method::POST, "/v1/chat/completions", 400),
        (Method::POST, "/v1/responses", 400),
        (Method::POST, "/v1/completions", 400),
        (Method::GET, "/v1/models", 200),
        (Method::GET, "/v1/models/tiny", 200),
        (Method::GET, "/metrics", 200),
        (Method::GET, "/cache", 200),
        (Method::POST, "/cache/keep-only", 400),
        (Method::POST, "/cache/clear", 204),
    ];
    for (method, path, with_key) in &routes {
        assert_eq!(status(method, path, &[]), 401, "{path}");
        assert_eq!(status(method, path, &[("x-api-key", "secret")]), 401, "{path}");
        assert_eq!(status(method, path, &[("x-api-key", "sec ret")]), *with_key, "{path}");
        for scheme in ["Bearer", "bearer", "BEARER"] {
            assert_eq!(status(method, path, &[("authorization", &format!("{scheme} sec ret"))]), *with_key, "{path} {scheme}");
        }
        for foreign in [("origin", "https://evil.example"), ("host", "evil.example")] {
            assert_eq!(status(method, path, &[foreign, ("x-api-key", "sec ret")]), 403, "{path} {foreign:?}");
        }
    }
    assert_eq!(get(&format!("{}/health", server.url)).status, 200);
}

#[test]
fn without_a_key_a_page_still_changes_nothing() {
    let server = Serving::start(MODEL, &[]);
    for path in ["/cache/clear", "/cache/keep-only", "/v1/messages"] {
        for header in [("origin", "https://evil.example"), ("host", "evil.example")] {
            let request = client().post(format!("{}{path}", server.url)).header(header.0, header.1);
            assert_eq!(send(request.header("content-type", "text/plain").body("{}")).unwrap().status, 403, "{path} {header:?}");
        }
    }
}
