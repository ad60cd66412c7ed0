//! Heads of requests that are wrong, sent as they are: each gets its status, in Anthropic's envelope, at every port of ours.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::MODEL;
use crate::support::launched::{HEADER, Launched};
use crate::support::recorder::Recorder;
use crate::support::serving::Serving;
use crate::support::upstream::read_message;

/// Sends wrong heads to the port at a base URL. `headers`: the lines that every request needs there.
fn refuses_in_the_envelope(url: &str, headers: &str) {
    let headers = &format!("host: localhost\r\n{headers}");
    let post = |more: &str| format!("POST /v1/messages HTTP/1.1\r\n{headers}{more}\r\n");
    let many: String = (0..200).map(|at| format!("x-{at}: 1\r\n")).collect();
    for (case, head, status) in [
        ("escape", format!("GET /v1/models/%zz HTTP/1.1\r\n{headers}\r\n"), 400),
        ("escape that is no text", format!("GET /v1/models/%ff HTTP/1.1\r\n{headers}\r\n"), 400),
        ("address of 80 KB", format!("GET /{} HTTP/1.1\r\n{headers}\r\n", "a".repeat(80_000)), 414),
        ("header of 1 MB", post(&format!("x-long: {}\r\n", "a".repeat(1 << 20))), 431),
        ("200 headers", post(&many), 431),
        ("length below 0", post("content-length: -1\r\n"), 400),
        ("length that is no number", post("content-length: many\r\n"), 400),
        ("lengths that differ", post("content-length: 1\r\ncontent-length: 2\r\n"), 400),
        ("no HTTP", "hello\r\n\r\n".to_owned(), 400),
    ] {
        let mut socket = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        let answer = read_message(&mut BufReader::new(socket));
        assert_eq!(answer.status(), status, "{case}: {answer:?}");
        let body: Value = serde_json::from_str(&answer.text()).unwrap_or_else(|_| panic!("{case}: {answer:?}"));
        assert_eq!((&body["type"], &body["error"]["type"]), (&"error".into(), &"invalid_request_error".into()), "{case}");
        assert!(answer.header("request-id").is_some(), "{case}: {answer:?}");
        assert_eq!(body["request_id"].as_str(), answer.header("request-id"), "{case}");
    }
}

#[test]
fn a_head_that_cannot_be_read_is_refused_in_the_envelope() {
    refuses_in_the_envelope(&Serving::start(MODEL, &[]).url, "");
}

#[test]
fn a_recorder_refuses_such_a_head_as_its_upstream_does() {
    let server = Serving::start(MODEL, &[]);
    let recorder = Recorder::start(&server.url);
    refuses_in_the_envelope(&recorder.address, "");
}

#[test]
fn a_launchers_port_refuses_such_a_head_as_a_server_does() {
    let launched = Launched::start(&["--model", MODEL], &[]);
    refuses_in_the_envelope(&launched.url, &format!("{HEADER}: {}\r\n", launched.token));
    launched.end();
}

#[test]
fn a_head_that_cannot_be_read_is_refused_so_behind_a_good_request_too_and_without_a_body_to_head() {
    let server = Serving::start(MODEL, &[]);
    let mut socket = BufReader::new(TcpStream::connect(server.url.trim_start_matches("http://")).unwrap());
    socket.get_mut().write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    assert_eq!(read_message(&mut socket).status(), 200);
    let refused = format!("HEAD /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(80_000));
    socket.get_mut().write_all(refused.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 414 ") && answer.contains("\r\nrequest-id: "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n") && !answer.contains('{'), "{answer}");
}
