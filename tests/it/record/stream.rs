//! What passes: every byte to both sides, as it comes, and all of it into the trace.

use std::sync::{Mutex, mpsc};

use anyclaude::trace::{self, ExchangeOutcome, Trace};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{event_names, problems_of, streaming, wait_for_text};
use crate::support::deadline::receive;
use crate::support::output::warnings_of;
use crate::support::recorder::Recorder;
use crate::support::upstream::{Client, Message, REQUEST, Upstream, frames, gate};

fn answer_content() -> Value {
    json!([{"type":"text","text":"Let mé look 🦀."},
        {"type":"tool_use","id":"toolu_1","name":"Read","input":{"file_path":"/w/a.txt"}}])
}

#[test]
fn a_stream_is_passed_byte_for_byte_and_recorded_wherever_its_chunks_are_cut() {
    // Sizes that cut inside of lines, of UTF-8 characters, and of nothing.
    for size in [1, 2, 3, 7, 64, 100_000] {
        let upstream = streaming(size);
        let recorder = Recorder::start(&upstream.url());
        let answer = Client::post(&recorder.address, REQUEST).answer();
        assert!(answer.whole && answer.status() == 200, "{answer:?}");
        assert_eq!(answer.text(), frames().concat());
        assert_eq!(answer.header("request-id"), Some("req_1"));

        let trace = recorder.trace();
        assert_eq!(trace.outcome, ExchangeOutcome::Complete);
        assert_eq!(trace.response.body["content"], answer_content());
        assert_eq!(trace.response.events.len(), frames().len());
        assert_eq!(trace.request.body, serde_json::from_str::<Value>(REQUEST).unwrap());
        assert_eq!((trace.request.path.as_str(), trace.client.as_str()), ("/v1/messages?beta=true", "test/1"));
        assert!(trace.timing.ttft_us.is_some() && trace.timing.e2e_us.is_some() && trace.timing.itl_us.is_some());
        assert_eq!(problems_of(&trace), Vec::<String>::new());
    }
}

#[test]
fn the_request_reaches_the_upstream_as_it_was_sent() {
    let (seen, requests) = mpsc::channel();
    let seen = Mutex::new(seen);
    let upstream = Upstream::start(move |request, answer| {
        seen.lock().unwrap().send(request).unwrap();
        answer.whole(200, &[], "{}")
    });
    let recorder = Recorder::start(&format!("{}/base/", upstream.url()));
    let headers = [
        "x-api-key: k-123456789",
        "Accept-Encoding: gzip, br",
        "anthropic-beta: a,b",
        "Connection: x-hop",
        "x-hop: 1",
        "te: trailers",
    ];
    Client::send(&recorder.address, "POST", "/v1/messages?beta=true&x=%20", &headers, REQUEST).answer();
    let request: Message = receive("the request", &requests);
    assert_eq!(request.line, "POST /base/v1/messages?beta=true&x=%20 HTTP/1.1");
    assert_eq!(request.body, REQUEST.as_bytes());
    assert_eq!(request.header("x-api-key"), Some("k-123456789"));
    assert_eq!(request.header("accept-encoding"), Some("gzip, br"));
    assert_eq!(request.header("anthropic-beta"), Some("a,b"));
    assert_eq!(request.header("host"), Some(upstream.address.to_string().as_str()));
    assert_eq!((request.header("x-hop"), request.header("te")), (None, None));
}

/// Parts compressed, flushed after each as a streaming server does it. Of two encodings, the second is around the first.
fn compressed(encoding: &str, parts: impl IntoIterator<Item: AsRef<[u8]>>) -> Vec<Vec<u8>> {
    if let Some((inner, outer)) = encoding.split_once(", ") {
        return compressed(outer, [compressed(inner, parts).concat()]);
    }
    use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
    macro_rules! compress {
        ($encoder:ident) => {{
            let mut encoder = $encoder::new(Vec::new());
            let mut chunks = Vec::new();
            for part in parts {
                encoder.write_all(part.as_ref()).await.unwrap();
                encoder.flush().await.unwrap();
                chunks.push(std::mem::take(encoder.get_mut()));
            }
            encoder.shutdown().await.unwrap();
            chunks.push(encoder.into_inner());
            chunks
        }};
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        match encoding {
            "gzip" => compress!(GzipEncoder),
            "br" => compress!(BrotliEncoder),
            "zstd" => compress!(ZstdEncoder),
            _ => compress!(ZlibEncoder),
        }
    })
}

#[test]
fn a_compressed_answer_reaches_the_client_untouched_and_the_trace_decoded() {
    for encoding in ["gzip", "br", "zstd", "deflate", "gzip, gzip"] {
        let frames = frames();
        let chunks = compressed(encoding, frames.iter().map(String::as_str));
        let whole = chunks.concat();
        let upstream = Upstream::start(move |_, answer| {
            answer.head(200, &["content-type: text/event-stream", &format!("content-encoding: {encoding}")])?;
            chunks.iter().filter(|chunk| !chunk.is_empty()).try_for_each(|chunk| answer.chunk(chunk))?;
            answer.end()
        });
        let recorder = Recorder::start(&upstream.url());
        let answer = Client::post(&recorder.address, REQUEST).answer();
        assert_eq!(answer.body, whole, "{encoding}");
        assert_eq!(answer.header("content-encoding"), Some(encoding));
        let trace = recorder.trace();
        assert_eq!(
            (trace.outcome, &trace.response.body["content"]),
            (ExchangeOutcome::Complete, &answer_content()),
            "{encoding}"
        );
    }
}

/// Records an answer with this compressed body. Returns the trace and the log.
fn recorded(media_type: &'static str, encoding: &'static str, body: Vec<u8>) -> (Trace, String) {
    let sent = body.clone();
    let upstream = Upstream::start(move |_, answer| {
        answer.whole(200, &[&format!("content-type: {media_type}"), &format!("content-encoding: {encoding}")], &sent)
    });
    let mut recorder = Recorder::start_with(&upstream.url(), &[("ANYCLAUDE_DEBUG", "1")]);
    let answer = Client::post(&recorder.address, REQUEST).answer();
    assert!(answer.whole && answer.body == body, "{encoding}: the client gets what came");
    let log = recorder.stop().stderr;
    (recorder.trace(), log)
}

#[test]
fn a_compressed_answer_that_breaks_off_is_recorded_as_broken_off() {
    for encoding in ["gzip", "br", "zstd", "deflate"] {
        let whole = compressed(encoding, ["{\"type\": \"message\"}"]).concat();
        let (trace, _) = recorded("application/json", encoding, whole.clone());
        assert_eq!((trace.outcome, trace.response.body), (ExchangeOutcome::Complete, json!({"type": "message"})), "{encoding}");
        let (trace, log) = recorded("application/json", encoding, whole[..whole.len() - 1].to_vec());
        assert_eq!((trace.outcome, trace.timing.e2e_us), (ExchangeOutcome::UpstreamError, None), "{encoding}");
        insta::allow_duplicates! { insta::assert_snapshot!(warnings_of(&log), @"the rest of the upstream's answer is not recorded: it broke off: its compression has no end") }
    }
}

#[test]
fn a_few_kilobytes_that_become_gigabytes_are_cut_and_the_trace_says_so() {
    let endless = format!("{}data: {}", frames()[..2].concat(), "0".repeat(48 << 20));
    let bomb = compressed("zstd", [endless.as_str()]).concat();
    assert!(bomb.len() < 16 << 10, "one chunk");
    let (trace, log) = recorded("text/event-stream", "zstd", bomb);
    assert_eq!((trace.outcome, event_names(&trace)), (ExchangeOutcome::Truncated, vec!["message_start", "content_block_start"]));
    insta::assert_snapshot!(warnings_of(&log), @"the rest of the upstream's answer is not recorded: decompressed it is too large: more than 256 MiB, or 32 MiB from one piece of it");
    assert_eq!(problems_of(&trace), Vec::<String>::new());
}

#[test]
fn a_compressed_request_reaches_the_upstream_untouched_and_the_trace_decoded() {
    let (seen, requests) = mpsc::channel();
    let seen = Mutex::new(seen);
    let upstream = Upstream::start(move |request, answer| {
        seen.lock().unwrap().send(request).unwrap();
        answer.whole(200, &[], "{}")
    });
    for encoding in ["gzip", "br", "zstd", "deflate", "gzip, gzip"] {
        let mut body: Value = serde_json::from_str(REQUEST).unwrap();
        body["mcp_servers"] = json!([{"type": "url", "name": "a", "authorization_token": "opensesame"}]);
        let sent = compressed(encoding, [body.to_string().as_str()]).concat();
        let recorder = Recorder::start(&upstream.url());
        let headers = [&format!("content-encoding: {encoding}")[..], "content-type: application/json"];
        Client::send(&recorder.address, "POST", "/v1/messages", &headers, &sent).answer();
        let request: Message = receive("the request", &requests);
        assert_eq!(
            (request.body, request.headers.iter().any(|(name, value)| name == "content-encoding" && value == encoding)),
            (sent, true)
        );
        body["mcp_servers"][0]["authorization_token"] = json!("[redacted]");
        assert_eq!(recorder.trace().request.body, body, "{encoding}");
    }
    // What cannot be decoded is passed on all the same, and recorded with the reason.
    let mut recorder = Recorder::start_with(&upstream.url(), &[("ANYCLAUDE_DEBUG", "1")]);
    Client::send(&recorder.address, "POST", "/v1/messages", &["content-encoding: gzip"], "no gzip").answer();
    assert_eq!(receive("the request", &requests).body, b"no gzip");
    let said = recorder.trace().request.body.as_str().unwrap().to_owned();
    assert!(said.starts_with("[not recorded: it cannot be decompressed"), "{said}");
    let log = recorder.stop().stderr;
    insta::assert_snapshot!(warnings_of(&log), @"the body of this request is not recorded: it cannot be decompressed: Invalid gzip header");
}

#[test]
fn an_event_reaches_the_client_before_the_upstream_has_sent_the_next() {
    let (open, gate) = gate();
    let upstream = Upstream::start(move |_, answer| {
        answer.stream()?;
        for frame in frames() {
            answer.chunk(frame)?;
            gate.wait();
        }
        answer.end()
    });
    let recorder = Recorder::start(&upstream.url());
    let mut client = Client::post(&recorder.address, REQUEST);
    client.head();
    for frame in frames() {
        assert_eq!(client.read_until("\n\n"), frame);
        open.send(()).unwrap();
    }
}

#[test]
fn the_trace_is_on_the_disk_when_the_client_sees_the_end() {
    // Message stop is the end for a client, even where the upstream leaves the connection open.
    let (_open, gate) = gate();
    let upstream = Upstream::start(move |_, answer| {
        answer.stream()?;
        answer.chunk(frames().concat())?;
        gate.wait();
        answer.end()
    });
    let recorder = Recorder::start(&upstream.url());
    let mut client = Client::post(&recorder.address, REQUEST);
    client.head();
    client.read_until("message_stop");
    recorder.signal("KILL");
    assert_eq!(recorder.trace().outcome, ExchangeOutcome::Complete);
}

#[test]
fn streams_of_other_protocols_end_in_their_own_ways() {
    const SAYS: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    const STOPS: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    const FAILS: &str = "data: {\"error\":{\"message\":\"gone\"}}\n\n";
    const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\"}\n\n";
    for (path, frames, outcome) in [
        ("/v1/chat/completions", [SAYS, STOPS, "data: [DONE]\n\n"], ExchangeOutcome::Complete),
        ("/v1/chat/completions", [SAYS, STOPS, ""], ExchangeOutcome::Complete),
        ("/v1/chat/completions", [SAYS, SAYS, ""], ExchangeOutcome::UpstreamError),
        ("/v1/completions", [SAYS, FAILS, "data: [DONE]\n\n"], ExchangeOutcome::UpstreamError),
        ("/v1/responses", [CREATED, "event: response.completed\ndata: {}\n\n", ""], ExchangeOutcome::Complete),
        ("/v1/responses", [CREATED, "event: response.failed\ndata: {}\n\n", ""], ExchangeOutcome::UpstreamError),
        ("/v1/responses", [CREATED, "", ""], ExchangeOutcome::UpstreamError),
    ] {
        let upstream = Upstream::start(move |_, answer| {
            answer.head(200, &["content-type: text/event-stream"])?;
            frames.iter().filter(|frame| !frame.is_empty()).try_for_each(|frame| answer.chunk(frame.as_bytes()))?;
            answer.end()
        });
        let recorder = Recorder::start(&upstream.url());
        Client::send(&recorder.address, "POST", path, &["content-type: application/json"], REQUEST).answer();
        assert_eq!(recorder.trace().outcome, outcome, "{path} {frames:?}");
    }
}

#[test]
fn events_after_the_end_are_recorded_too() {
    let upstream = Upstream::start(|_, answer| {
        answer.stream()?;
        answer.chunk(frames().concat())?;
        answer.chunk("event: ping\ndata: {\"type\":\"ping\"}\n\n")?;
        answer.end()
    });
    let recorder = Recorder::start(&upstream.url());
    assert!(Client::post(&recorder.address, REQUEST).answer().whole);
    let trace = recorder.trace();
    assert_eq!((trace.outcome, event_names(&trace).last().copied()), (ExchangeOutcome::Complete, Some("ping")));
}

#[test]
fn bodies_that_are_no_stream_and_no_json_are_recorded() {
    for (body, recorded) in [
        (r#"{"input_tokens": 12}"#, json!({"input_tokens": 12})),
        ("<html>no</html>", json!("<html>no</html>")),
        ("", Value::Null),
    ] {
        let upstream = Upstream::start(move |_, answer| answer.whole(200, &[], body));
        let recorder = Recorder::start(&upstream.url());
        let answer = Client::send(&recorder.address, "POST", "/v1/messages/count_tokens", &[], REQUEST).answer();
        assert_eq!(answer.text(), body);
        let trace = recorder.trace();
        assert_eq!((trace.outcome, trace.response.body), (ExchangeOutcome::Complete, recorded));
    }
}

#[test]
fn only_paths_under_v1_are_recorded_and_the_others_pass() {
    let upstream = Upstream::start(|request, answer| match request.line.as_str() {
        "HEAD / HTTP/1.1" => answer.raw("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        "GET /health HTTP/1.1" => answer.whole(200, &[], "ok"),
        _ => answer.whole(200, &[], "{\"data\":[]}"),
    });
    let mut recorder = Recorder::start(&upstream.url());
    let head = Client::send(&recorder.address, "HEAD", "/", &["connection: close"], "").head();
    assert_eq!((head.status(), head.header("content-length")), (200, Some("5")));
    assert_eq!(Client::send(&recorder.address, "GET", "/health", &[], "").answer().text(), "ok");
    assert!(recorder.files().is_empty());
    assert_eq!(Client::send(&recorder.address, "GET", "/v1/models", &[], "").answer().text(), "{\"data\":[]}");
    let trace = recorder.trace();
    assert_eq!(
        (trace.request.method.as_str(), trace.request.path.as_str(), &trace.request.body),
        ("GET", "/v1/models", &Value::Null)
    );
    recorder.stop().exits(0);
}

#[test]
fn exchanges_in_parallel_get_a_trace_each_numbered_by_arrival() {
    const CLIENTS: usize = 8;
    let (arrived, has_arrived) = mpsc::channel();
    let arrived = Mutex::new(arrived);
    let (open, gate) = gate();
    let upstream = Upstream::start(move |request, answer| {
        let model = serde_json::from_slice::<Value>(&request.body).unwrap()["model"].as_str().unwrap().to_owned();
        answer.stream()?;
        answer.chunk(&frames()[0])?;
        arrived.lock().unwrap().send(()).unwrap();
        gate.wait();
        answer.chunk(frames()[1..].concat().replace("look", &model))?;
        answer.end()
    });
    let recorder = Recorder::start(&upstream.url());
    let clients: Vec<Client> = (1..=CLIENTS)
        .map(|number| {
            let client = Client::post(&recorder.address, &REQUEST.replace("claude-test", &format!("model-{number}")));
            receive("the request at the upstream", &has_arrived);
            client
        })
        .collect();
    for number in 1..=CLIENTS {
        wait_for_text(&recorder.session(&format!("{number:04}.json.partial")), &format!("model-{number}"));
    }
    assert_eq!(recorder.files().len(), CLIENTS, "one partial file each");
    (0..CLIENTS).for_each(|_| open.send(()).unwrap());
    for client in clients {
        assert!(client.answer().whole);
    }
    let traces: Vec<Trace> = recorder.files().iter().map(|file| trace::read(file).unwrap()).collect();
    assert_eq!(traces.len(), CLIENTS);
    for (number, trace) in (1..).zip(traces) {
        assert_eq!((trace.seq, trace.outcome), (number, ExchangeOutcome::Complete));
        assert_eq!(trace.response.body["content"][0]["text"], format!("Let mé model-{number} 🦀."));
    }
}
