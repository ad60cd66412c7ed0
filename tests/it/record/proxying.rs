//! What a proxy must not pass on as it comes (RFC 9110 and 9112): lengths that do not count, tunnels, switches of protocol,
//! requests that have no path.

use anyclaude::trace::ExchangeOutcome;
use serde_json::Value;

use super::event_names;
use crate::support::recorder::Recorder;
use crate::support::upstream::{Client, Message, REQUEST, Upstream, frames};

#[test]
fn a_length_beside_chunks_counts_neither_for_the_client_nor_for_the_trace() {
    let stream = frames().concat();
    for length in [0, 3, 10, 1 << 20] {
        let sent = stream.clone();
        let upstream = Upstream::start(move |_, answer| {
            answer.head(200, &["content-type: text/event-stream", &format!("content-length: {length}")])?;
            sent.as_bytes().chunks(100).try_for_each(|chunk| answer.chunk(chunk))?;
            answer.end()
        });
        let recorder = Recorder::start(&upstream.url());
        let answer = Client::post(&recorder.address, REQUEST).answer();
        assert_eq!((answer.header("content-length"), answer.whole, answer.text()), (None, true, stream.clone()), "{length}");
        let trace = recorder.trace();
        assert_eq!((event_names(&trace).len(), trace.outcome), (12, ExchangeOutcome::Complete), "{length}");
        // The trace has what the upstream sent.
        assert_eq!(trace.response.headers["content-length"], length.to_string());
    }
}

/// The message in an error's body.
fn told(answer: &Message) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn what_has_no_path_and_what_asks_for_a_tunnel_is_not_sent_on() {
    // It would be looked up as a part of the host's name.
    let upstream = Upstream::start(|request, _| panic!("{} was sent on", request.line));
    let recorder = Recorder::start(&upstream.url());
    let key = ["x-api-key: not-for-others"];
    let tunnel = Client::send(&recorder.address, "CONNECT", "127.0.0.1:9", &key, "").answer();
    assert_eq!(tunnel.status(), 405);
    assert!(tunnel.header("allow").is_some_and(|methods| methods.contains("POST")));
    insta::assert_snapshot!(told(&tunnel), @"anyclaude record: no tunnels: it is no proxy to other servers, give its address as the base URL");
    let server = Client::send(&recorder.address, "OPTIONS", "*", &key, "").answer();
    assert_eq!(server.status(), 400);
    insta::assert_snapshot!(told(&server), @"anyclaude record: * is no path of the upstream's: ask for one that begins with /");
    assert!(recorder.files().is_empty());
}

#[test]
fn a_switch_of_protocol_that_nobody_asked_for_is_a_502() {
    let upstream = Upstream::start(|_, answer| {
        answer.raw("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n")
    });
    let recorder = Recorder::start(&upstream.url());
    let answer = Client::post(&recorder.address, REQUEST).answer();
    assert_eq!(answer.status(), 502);
    let told = told(&answer).replace(&upstream.url(), "[upstream]");
    insta::assert_snapshot!(told, @"anyclaude record: no answer from [upstream]: it answered with status 101 and left HTTP, unasked; is its address that of an HTTP API?");
    let trace = recorder.trace();
    assert_eq!((trace.response.status, trace.outcome), (0, ExchangeOutcome::UpstreamError));
}
