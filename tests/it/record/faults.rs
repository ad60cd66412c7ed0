//! What fails: the upstream, the client, the disk, the start.

use std::fs;
use std::sync::{Mutex, mpsc};

use anyclaude::trace::ExchangeOutcome;
use serde_json::{Value, json};

use super::{event_names, streaming};
use crate::support::deadline::receive;
use crate::support::listen;
use crate::support::output::line_of;
use crate::support::recorder::Recorder;
use crate::support::sandbox::{Sandbox, portable};
use crate::support::upstream::{Client, REQUEST, Upstream, frames};

#[test]
fn an_upstream_that_breaks_breaks_the_client_too() {
    let upstream = Upstream::start(|_, answer| {
        answer.stream()?;
        answer.chunk(frames()[..4].concat())?;
        // The chunk's size promises more than comes.
        answer.raw("ff\r\nevent: content_block_de")?;
        Err(std::io::ErrorKind::Other.into())
    });
    let mut recorder = Recorder::start(&upstream.url());
    let answer = Client::post(&recorder.address, REQUEST).answer();
    assert!(!answer.whole, "a clean end would pass half an answer off as a whole one");
    assert!(answer.text().starts_with(&frames()[..4].concat()));
    let trace = recorder.trace();
    assert_eq!(trace.outcome, ExchangeOutcome::UpstreamError);
    assert_eq!(event_names(&trace), ["message_start", "content_block_start", "ping", "content_block_delta"]);
    assert_eq!(trace.response.body["content"], json!([{"type":"text","text":"Let mé "}]));
    let ran = recorder.stop().exits(0);
    insta::assert_snapshot!(recorder.sandbox.portable(&ran.stderr), @"
    recording http://127.0.0.1:[port] → http://127.0.0.1:[port], into traces/s
    point Claude Code at it: ANTHROPIC_BASE_URL=http://127.0.0.1:[port] claude
    if the upstream asks for no key, and Claude Code has no login of its own: with ANTHROPIC_API_KEY=local, too
    stop with Ctrl-C
    s/0001 POST /v1/messages?beta=true 200 upstream_error, 4 events
    recorded 1 exchange to traces/s (1 upstream_error)
    ");
}

#[test]
fn what_came_of_an_answer_of_known_length_reaches_the_client_and_the_trace() {
    const HALF: &str = "{\"type\":\"message\",\"half\":\"";
    let upstream = Upstream::start(|_, answer| {
        answer.raw(format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{HALF}"))?;
        Err(std::io::ErrorKind::Other.into())
    });
    let recorder = Recorder::start(&upstream.url());
    for _ in 0..20 {
        let answer = Client::post(&recorder.address, REQUEST).answer();
        assert_eq!((answer.status(), answer.text().as_str(), answer.whole), (200, HALF, false));
    }
    let mut recorder = recorder;
    recorder.stop();
    let files = recorder.files();
    assert_eq!(files.len(), 20);
    for file in files {
        let trace = anyclaude::trace::read(&file).unwrap();
        assert_eq!((trace.outcome, trace.response.status), (ExchangeOutcome::UpstreamError, 200));
        assert_eq!(trace.response.body, HALF);
    }
}

#[test]
fn a_stream_without_message_stop_and_one_with_an_error_event_are_upstream_errors() {
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";
    for body in [frames()[..4].concat(), frames()[..4].concat() + error] {
        let sent = body.clone();
        let upstream = Upstream::start(move |_, answer| {
            answer.stream()?;
            answer.chunk(&sent)?;
            answer.end()
        });
        let recorder = Recorder::start(&upstream.url());
        let answer = Client::post(&recorder.address, REQUEST).answer();
        assert!(answer.whole && answer.text() == body);
        assert_eq!(recorder.trace().outcome, ExchangeOutcome::UpstreamError);
    }
}

#[test]
fn an_error_status_passes_with_its_headers_and_is_recorded() {
    const BODY: &str = r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#;
    let upstream = Upstream::start(|_, answer| answer.whole(429, &["content-type: application/json", "retry-after: 7"], BODY));
    let recorder = Recorder::start(&upstream.url());
    let answer = Client::post(&recorder.address, REQUEST).answer();
    assert_eq!((answer.status(), answer.header("retry-after"), answer.text().as_str()), (429, Some("7"), BODY));
    let trace = recorder.trace();
    assert_eq!((trace.outcome, trace.response.status), (ExchangeOutcome::UpstreamError, 429));
    assert_eq!(trace.response.body, serde_json::from_str::<Value>(BODY).unwrap());
    assert_eq!(trace.response.headers["retry-after"], "7");
    assert!(trace.response.events.is_empty() && trace.timing.e2e_us.is_some());
}

#[test]
fn an_upstreams_answer_of_a_bare_status_passes_as_it_is() {
    const BARE: &str = "HTTP/1.1 400 Bad Request\r\nx-upstream: 1\r\ncontent-length: 0\r\n\r\n";
    let upstream = Upstream::start(|_, answer| answer.raw(BARE));
    let recorder = Recorder::start(&upstream.url());
    let answer = Client::post(&recorder.address, REQUEST).answer();
    assert_eq!((answer.status(), answer.header("x-upstream"), answer.text().as_str()), (400, Some("1"), ""));
    assert_eq!((answer.header("request-id"), recorder.trace().response.status), (None, 400));
}

#[test]
fn a_request_too_large_to_hold_is_refused_before_it_is_read() {
    let upstream = streaming(64);
    let recorder = Recorder::start(&upstream.url());
    let mut client = std::net::TcpStream::connect(recorder.address.trim_start_matches("http://")).unwrap();
    std::io::Write::write_all(
        &mut client,
        b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 300000000\r\n\r\n{",
    )
    .unwrap();
    let mut answer = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(client), &mut answer).unwrap();
    assert_eq!(answer.trim_end(), "HTTP/1.1 413 Payload Too Large");
}

#[test]
fn an_upstream_that_is_not_there_gives_502_in_anthropics_form() {
    let upstream = listen::nobody();
    let recorder = Recorder::start(&upstream);
    let answer = Client::post(&recorder.address, REQUEST).answer();
    assert_eq!(answer.status(), 502);
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!("api_error")));
    let message = body["error"]["message"].as_str().unwrap().replace(&upstream, "[upstream]");
    insta::assert_snapshot!(portable(&message), @"anyclaude record: no answer from [upstream]: Connection refused (os error [number]); is it running, and is its address right?");
    let trace = recorder.trace();
    assert_eq!((trace.outcome, trace.response.status, trace.response.body), (ExchangeOutcome::UpstreamError, 0, Value::Null));
}

#[test]
fn a_client_that_leaves_ends_the_upstreams_request_and_is_recorded_as_such() {
    // Once after the first event, once before the answer's head.
    for events in [2, 0] {
        let (closed, was_closed) = mpsc::channel();
        let closed = Mutex::new(closed);
        let (arrived, has_arrived) = mpsc::channel();
        let arrived = Mutex::new(arrived);
        let upstream = Upstream::start(move |_, answer| {
            arrived.lock().unwrap().send(()).unwrap();
            if events > 0 {
                answer.stream()?;
                answer.chunk(frames()[..events].concat())?;
            }
            answer.wait_for_close();
            closed.lock().unwrap().send(()).ok();
            Ok(())
        });
        let mut recorder = Recorder::start(&upstream.url());
        let mut client = Client::post(&recorder.address, REQUEST);
        receive("the request at the upstream", &has_arrived);
        if events > 0 {
            client.head();
            client.read_until("content_block_start");
        }
        drop(client);
        receive("the end of the upstream's request", &was_closed);
        recorder.stop();
        let trace = recorder.trace();
        assert_eq!((trace.outcome, trace.response.events.len()), (ExchangeOutcome::ClientClosed, events));
    }
}

#[test]
fn a_disk_that_fails_costs_the_trace_and_not_the_answer() {
    let upstream = streaming(64);
    let mut recorder = Recorder::start(&upstream.url());
    // A file where the folder was: nothing can be written there, whoever runs the test.
    fs::remove_dir(recorder.session("")).unwrap();
    recorder.sandbox.write("traces/s", "");
    let answer = Client::post(&recorder.address, REQUEST).answer();
    assert!(answer.whole && answer.text() == frames().concat());
    let ran = recorder.stop().exits(3);
    insta::assert_snapshot!(recorder.sandbox.portable(line_of(&ran.stderr, "error: ")), @"error: cannot make traces/s/0001.json.partial: Not a directory (os error [number]); check the path, its permissions and the free space");
}

#[test]
fn what_cannot_start_says_what_to_do() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "");
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port().to_string();
    let refused = |arguments: &[&str]| sandbox.run(&[&["record"], arguments].concat()).refusal();
    let with_password = "/a=https://me:pw@gateway.example/b";
    let cases = [
        &["--port", &port][..],
        &["--upstream", "localhost:8081"],
        &["--upstream", with_password],
        &["--out", "file", "--session", "s"],
        &["--session", "../x"],
    ];
    let refusals: String = cases.map(refused).concat();
    insta::assert_snapshot!(refusals.replace(&port, "PORT"), @"
    exit 3: error: port PORT on 127.0.0.1 is in use; stop what listens there, or choose another with --port (0: any free one)
    exit 2: error: --upstream localhost:8081: it must begin with http:// or https://; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
    exit 2: error: --upstream /a=https://gateway.example/b: its address has credentials, so whoever reaches this port would spend them: leave them out and let the client send them, such as with ANTHROPIC_CUSTOM_HEADERS='Authorization: Basic …'
    exit 2: error: cannot write to file/s: Not a directory (os error 20); choose another folder with --out
    exit 2: error: --session ../x: it becomes a folder's name, so use letters, digits, '-', '_' and '.' only
    ");
    assert!(!sandbox.path("traces").exists(), "nothing is left behind");
}

#[test]
fn past_the_systems_limit_for_files_the_answer_still_reaches_the_client() {
    let upstream = streaming(64);
    let mut recorder = Recorder::start_by_script("ulimit -f 64; exec \"$@\"", &upstream.url());
    let large = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "words ".repeat(20_000)}]});
    for _ in 0..2 {
        let answer = Client::post(&recorder.address, &large.to_string()).answer();
        assert!(answer.whole && answer.text() == frames().concat());
    }
    // What fits is recorded.
    assert!(Client::post(&recorder.address, "{}").answer().whole);
    let ran = recorder.stop().exits(3);
    assert!(ran.stderr.contains("File too large"), "{}", ran.stderr);
    assert!(recorder.session("0003.json").exists());
}
