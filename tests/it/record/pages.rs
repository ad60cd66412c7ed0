//! By which names and from whose web pages the recorder may be used.

use crate::support::http::{client, send};
use crate::support::process::Running;
use crate::support::recorder::Recorder;
use crate::support::sandbox::Sandbox;
use crate::support::upstream::{REQUEST, Upstream};

/// What a request with this header is answered.
#[track_caller]
fn status(address: &str, header: &str, value: &str) -> u16 {
    let request = client().post(format!("{address}/v1/messages")).header("content-type", "text/plain");
    let reply = send(request.header(header, value).body(REQUEST)).unwrap();
    if reply.status != 200 {
        let (error, flag) = (reply.json(), if header == "host" { "--allow-host" } else { "--allow-origin" });
        assert!(error["type"] == "error" && error["error"]["type"] == "permission_error", "{reply:?}");
        assert!(error["error"]["message"].as_str().unwrap().contains(flag), "{reply:?}");
    }
    reply.status
}

#[test]
fn foreign_names_and_pages_reach_no_upstream_and_no_trace() {
    let upstream = Upstream::start(|_, answer| answer.whole(200, &[], "{}"));
    let recorder = Recorder::start(&upstream.url());
    for (header, value) in [
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example:8082"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:3000"),
    ] {
        assert_eq!(status(&recorder.address, header, value), 403, "{header}: {value}");
    }
    assert!(recorder.files().is_empty());
    for (header, value) in [("host", "localhost:8082"), ("host", "[::1]"), ("origin", &recorder.address)] {
        assert_eq!(status(&recorder.address, header, value), 200, "{header}: {value}");
    }
    assert_eq!(recorder.files().len(), 3);
}

#[test]
fn names_and_pages_that_the_flags_give_are_let_in() {
    let upstream = Upstream::start(|_, answer| answer.whole(200, &[], "{}"));
    let sandbox = Sandbox::new();
    let flags = ["--allow-host", "host.docker.internal", "--allow-origin", "https://app.example"];
    let mut recording =
        Running::start(&mut sandbox.anyclaude(&[&["record", "--port", "0", "--upstream", &upstream.url()], &flags[..]].concat()));
    let line = recording.says("recording http://");
    let address = line.split(' ').nth(1).unwrap();
    for (header, value, expected) in [
        ("host", "host.docker.internal:8082", 200),
        ("host", "other.docker.internal", 403),
        ("origin", "https://app.example", 200),
        ("origin", "https://other.example", 403),
    ] {
        assert_eq!(status(address, header, value), expected, "{header}: {value}");
    }
}
