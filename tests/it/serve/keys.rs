//! The key of `anyclaude serve`: where it is needed, what it may be, and what is answered without it.

use reqwest::Method;

use crate::support::MODEL;
use crate::support::demo::session;
use crate::support::http::{client, get, send};
use crate::support::process::{Running, run};
use crate::support::replay_backend::{Flaw, ReplayBackend};
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

#[test]
fn a_key_of_the_users_is_spent_for_those_who_know_the_ports_own() {
    let (sandbox, elsewhere) = (session(), ReplayBackend::without_cache_control(Flaw::None));
    let playing = |url: &str, variables: &[(&str, &str)]| {
        let ask = format!("ask:{url}");
        let mut command = sandbox.anyclaude(&["serve", "--traces", "traces", "--port", "0", "--on-miss", &ask]);
        command.envs(variables.iter().copied());
        command
    };
    let in_url = elsewhere.url.replace("http://", "http://me:pw@");
    let refusals = [
        run(&mut playing(&elsewhere.url, &[("ANTHROPIC_API_KEY", "sk-mine")])).refusal(),
        run(&mut playing(&elsewhere.url, &[("ANTHROPIC_AUTH_TOKEN", "mine"), ("ANYCLAUDE_API_KEY", "")])).refusal(),
        run(&mut playing(&in_url, &[])).refusal(),
    ];
    insta::assert_snapshot!(refusals.concat(), @"
    exit 2: error: --on-miss ask: sends ANTHROPIC_API_KEY on, so whoever reaches this port would spend it: set --api-key (or ANYCLAUDE_API_KEY) and give the client that key instead
    exit 2: error: --on-miss ask: sends ANTHROPIC_AUTH_TOKEN on, so whoever reaches this port would spend it: set --api-key (or ANYCLAUDE_API_KEY) and give the client that key instead
    exit 2: error: --on-miss ask: sends the credentials in its URL on, so whoever reaches this port would spend it: set --api-key (or ANYCLAUDE_API_KEY) and give the client that key instead
    ");

    let keys = [("ANTHROPIC_API_KEY", "sk-mine"), ("ANYCLAUDE_API_KEY", "the-ports-own")];
    let mut running = Running::start(&mut playing(&elsewhere.url, &keys));
    let url = running.says("listening on ").replace("listening on ", "");
    let unrecorded = r#"{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Anything"}]}"#;
    let status = |key: &str| {
        let request = client().post(format!("{url}/v1/messages")).header("x-api-key", key);
        send(request.body(unrecorded)).unwrap().status
    };
    assert_eq!(["", "other", "sk-mine"].map(status), [401; 3]);
    assert_eq!(elsewhere.requests().len(), 0);
    assert_eq!((status("the-ports-own"), elsewhere.requests().len()), (200, 1));
}
