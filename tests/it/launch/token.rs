//! Who may use the port of a launch: the client that was started on it, and nobody else.

use std::fs;
use std::sync::{Mutex, mpsc};

use reqwest::Method;
use serde_json::json;

use crate::support::chat_upstream::{ChatUpstream, Reply, plain};
use crate::support::deadline::receive;
use crate::support::http::{Reply as Answered, client, send};
use crate::support::launched::{HEADER, Launched};
use crate::support::upstream::{Message, REQUEST, Upstream};

/// A server that speaks chat completions and counts what it is asked.
fn chat_server() -> ChatUpstream {
    ChatUpstream::start(|asked| Reply::stream(plain(asked, "Hi", &[])))
}

fn chat_flags(upstream: &ChatUpstream) -> [&str; 6] {
    ["--mode", "openrouter", "--base-url", &upstream.url, "--model", "some/model"]
}

#[test]
fn whoever_does_not_know_the_token_costs_nothing_and_is_told_nothing() {
    let upstream = chat_server();
    let launched = Launched::start(&chat_flags(&upstream), &[("OPENROUTER_API_KEY", "or-key")]);
    let routes = [
        (Method::POST, "/v1/messages"),
        (Method::POST, "/v1/messages/count_tokens"),
        (Method::POST, "/v1/chat/completions"),
        (Method::POST, "/v1/responses"),
        (Method::POST, "/v1/completions"),
        (Method::GET, "/v1/models"),
        (Method::GET, "/v1/models/m"),
        (Method::GET, "/metrics"),
        (Method::GET, "/health"),
        (Method::GET, "/cache"),
        (Method::POST, "/cache/clear"),
        (Method::POST, "/cache/keep-only"),
        (Method::GET, "/elsewhere"),
        (Method::OPTIONS, "/v1/models/m"),
    ];
    for (method, path) in routes {
        for (header, value) in [("x-other", launched.token.as_str()), (HEADER, "wrong"), (HEADER, ""), ("x-api-key", "or-key")] {
            let reply = send(launched.request(method.clone(), path).header(header, value)).unwrap();
            assert_eq!(reply.status, 401, "{method} {path} {header}: {reply:?}");
            let is_openai = ["chat/completions", "responses", "completions"].iter().any(|route| path.ends_with(route));
            let field = if is_openai { &reply.json()["error"]["code"] } else { &reply.json()["error"]["type"] };
            assert_eq!(*field, if is_openai { "invalid_api_key" } else { "authentication_error" }, "{path}: {reply:?}");
            assert!(!reply.text.contains(&launched.token), "{reply:?}");
            let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
            insta::allow_duplicates! { insta::assert_snapshot!(message, @"this port is for the client that anyclaude has started: it sends the header x-anyclaude-token, which it finds in its variable ANTHROPIC_CUSTOM_HEADERS. If that client is told this, its own settings replace the variable") }
        }
    }
    assert_eq!(upstream.asked_to_answer().len(), 0);
    // Clients send such a probe without their headers. It gets no further than the port.
    for path in ["/", "/v1/models", "/metrics"] {
        assert_eq!(send(launched.request(Method::HEAD, path)).unwrap(), ok(""), "{path}");
    }

    let reply = send(launched.request(Method::POST, "/v1/messages").header(HEADER, &launched.token)).unwrap();
    assert!(reply.status == 200 && reply.text.contains("message_stop"), "{reply:?}");
    let asked = upstream.asked_to_answer();
    assert!(asked.len() == 1 && asked[0].headers["authorization"] == "Bearer or-key", "{asked:?}");
    assert!(!format!("{asked:?}").contains(&launched.token), "{asked:?}");
    let (_, traces) = launched.end();
    assert_eq!(traces.len(), 1, "who is turned away is not recorded");
}

fn ok(text: &str) -> Answered {
    Answered { status: 200, text: text.into(), retry_after: None }
}

#[test]
fn foreign_names_and_pages_are_turned_away_even_with_the_token() {
    let upstream = chat_server();
    let launched = Launched::start(&chat_flags(&upstream), &[("OPENROUTER_API_KEY", "or-key")]);
    for (header, value) in [("host", "evil.example"), ("origin", "https://evil.example"), ("origin", "null")] {
        for path in ["/v1/messages", "/cache/clear"] {
            let request = launched.request(Method::POST, path).header(HEADER, &launched.token);
            let reply = send(request.header(header, value).header("content-type", "text/plain")).unwrap();
            assert_eq!((reply.status, &reply.json()["error"]["type"]), (403, &json!("permission_error")), "{reply:?}");
            assert!(reply.json()["request_id"].as_str().unwrap().starts_with("req_"), "{reply:?}");
        }
    }
    assert_eq!(upstream.asked_to_answer().len(), 0);
    launched.end();
}

#[test]
fn a_page_that_the_settings_name_may_ask_with_the_token() {
    let upstream = chat_server();
    let variables = [("OPENROUTER_API_KEY", "or-key"), ("ANYCLAUDE_ALLOW_ORIGIN", "https://app.example")];
    let launched = Launched::start(&chat_flags(&upstream), &variables);
    let asks_first = launched.request(Method::OPTIONS, "/v1/messages").header("access-control-request-method", "POST");
    for (request, status) in [
        (asks_first, 200),
        (launched.request(Method::POST, "/v1/messages"), 401),
        (launched.request(Method::POST, "/v1/messages").header(HEADER, &launched.token), 200),
    ] {
        let reply = send(request.header("origin", "https://app.example")).unwrap();
        assert_eq!(reply.status, status, "{reply:?}");
    }
    launched.end();
}

#[test]
fn a_server_elsewhere_gets_the_clients_own_headers_and_not_the_token() {
    let (seen, requests) = mpsc::channel();
    let seen = Mutex::new(seen);
    let upstream = Upstream::start(move |request, answer| {
        seen.lock().unwrap().send(request).unwrap();
        answer.whole(200, &["content-type: application/json"], "{}")
    });
    let url = upstream.url();
    let (anthropic, as_alone) = (["--mode", "anthropic", "--base-url", &url], ["--mode", "claude"]);
    for (flags, variables) in [
        (&anthropic[..], &[("ANTHROPIC_CUSTOM_HEADERS", "x-own: 1\nX-Anyclaude-Token: of another run")][..]),
        (&as_alone, &[("ANTHROPIC_BASE_URL", &url)]),
    ] {
        let launched = Launched::start(flags, variables);
        let post = || launched.request(Method::POST, "/v1/messages").header("x-api-key", "sk-of-the-client").header("x-own", "1");
        assert_eq!(send(post()).unwrap().status, 401);
        assert_eq!(send(post().header(HEADER, &launched.token)).unwrap(), ok("{}"));
        let request: Message = receive("the client's request", &requests);
        assert!(request.text() == REQUEST && request.header("x-own") == Some("1"), "{request:?}");
        assert_eq!((request.header("x-api-key"), request.header(HEADER)), (Some("sk-of-the-client"), None));
        let (_, traces) = launched.end();
        assert!(traces.len() == 1 && !traces[0].contains(HEADER), "{traces:?}");
    }
    assert!(requests.try_recv().is_err(), "only who has the token gets through");
}

#[test]
fn a_token_that_a_tool_has_printed_is_not_recorded() {
    let upstream = Upstream::start(|_, answer| answer.whole(200, &["content-type: application/json"], "{}"));
    let launched = Launched::start(&["--mode", "anthropic", "--base-url", &upstream.url()], &[]);
    let printed = format!("HOME=/root\nANTHROPIC_CUSTOM_HEADERS=x-own: 1\n{HEADER}: {}\nPATH=/bin\n", launched.token);
    let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": printed}]});
    let request = launched.request(Method::POST, "/v1/messages").header(HEADER, &launched.token);
    assert_eq!(send(request.json(&body)).unwrap(), ok("{}"));
    let (_, traces) = launched.end();
    assert!(traces[0].contains("PATH=/bin"), "{traces:?}");
}

/// Its own server's port is not told to anybody, but can be found.
#[cfg(target_os = "linux")]
#[test]
fn the_server_behind_the_port_is_no_way_round_it() {
    let upstream = chat_server();
    let launched = Launched::start(&chat_flags(&upstream), &[("OPENROUTER_API_KEY", "or-key")]);
    let ports = listening_ports(launched.running.id());
    assert_eq!(ports.len(), 2, "the recorder's and the server's: {ports:?}");
    for port in ports {
        for path in ["/v1/messages", "/v1/chat/completions", "/cache/clear"] {
            let reply = send(client().post(format!("http://127.0.0.1:{port}{path}")).body(REQUEST)).unwrap();
            assert_eq!(reply.status, 401, "{port}{path}: {reply:?}");
        }
        assert_eq!(send(client().get(format!("http://127.0.0.1:{port}/metrics"))).unwrap().status, 401);
    }
    assert_eq!(upstream.asked_to_answer().len(), 0);
    launched.end();
}

/// The ports at which a process listens, as the kernel tells them.
#[cfg(target_os = "linux")]
fn listening_ports(process: u32) -> Vec<u16> {
    let sockets = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let sockets: Vec<String> = sockets
        .filter_map(|file| {
            let target = fs::read_link(file.unwrap().path()).ok()?.to_string_lossy().into_owned();
            Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let table = fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap();
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    // The local address, the state (0A: listening) and the socket.
    let listening = rows.filter(|row| row[3] == "0A" && sockets.iter().any(|socket| socket == row[9]));
    listening.map(|row| u16::from_str_radix(row[1].rsplit(':').next().unwrap(), 16).unwrap()).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn the_token_is_in_no_list_of_processes() {
    let launched = Launched::start(&["--mode", "anthropic", "--base-url", "http://server.invalid"], &[]);
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    // A process may have ended meanwhile.
    let lines: Vec<_> = processes.filter_map(|file| fs::read(file).ok()).collect();
    assert!(lines.iter().any(|line| String::from_utf8_lossy(line).contains("ANTHROPIC_CUSTOM_HEADERS")), "the client's own");
    assert!(lines.iter().all(|line| !String::from_utf8_lossy(line).contains(&launched.token)));
    launched.end();
}
