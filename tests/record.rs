//! `anyclaude record` alone: what the client gets, and what lies on the disk, whatever upstream and client do.

#[path = "support/recorder.rs"]
mod recorder;
#[path = "support/upstream.rs"]
mod upstream;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Mutex, mpsc};

use anyclaude::trace::{self, ExchangeOutcome, Trace, validate};
use recorder::{Recorder, anyclaude, files};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use upstream::{Client, Message, REQUEST, Upstream, frames, read_head, text_frame};

/// A gate: the script waits at it, the test opens it. No clock is involved.
fn gate() -> (mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>) {
    let (open, wait) = mpsc::channel();
    (open, Mutex::new(wait))
}

fn wait(gate: &Mutex<mpsc::Receiver<()>>) {
    // The test may be gone already.
    gate.lock().unwrap().recv().ok();
}

/// An upstream that answers with all frames, cut into chunks of `size` bytes.
fn streaming(size: usize) -> Upstream {
    Upstream::start(move |_, answer| {
        answer.stream()?;
        frames().concat().as_bytes().chunks(size).try_for_each(|chunk| answer.chunk(chunk))?;
        answer.end()
    })
}

fn event_names(trace: &Trace) -> Vec<&str> {
    trace.response.events.iter().map(|event| event.event.as_str()).collect()
}

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
        assert_eq!(validate::problems_of(&trace), Vec::<String>::new());
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
    let request: Message = requests.recv().unwrap();
    assert_eq!(request.line, "POST /base/v1/messages?beta=true&x=%20 HTTP/1.1");
    assert_eq!(request.body, REQUEST.as_bytes());
    assert_eq!(request.header("x-api-key"), Some("k-123456789"));
    assert_eq!(request.header("accept-encoding"), Some("gzip, br"));
    assert_eq!(request.header("anthropic-beta"), Some("a,b"));
    assert_eq!(request.header("host"), Some(upstream.address.to_string().as_str()));
    assert_eq!((request.header("x-hop"), request.header("te")), (None, None));
}

/// The frames compressed, flushed after each as a streaming server does it.
fn compressed(encoding: &str) -> Vec<Vec<u8>> {
    use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
    macro_rules! compress {
        ($encoder:ident) => {{
            let mut encoder = $encoder::new(Vec::new());
            let mut chunks = Vec::new();
            for frame in frames() {
                encoder.write_all(frame.as_bytes()).await.unwrap();
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
    for encoding in ["gzip", "br", "zstd", "deflate"] {
        let upstream = Upstream::start(move |_, answer| {
            answer.head(200, &["content-type: text/event-stream", &format!("content-encoding: {encoding}")])?;
            compressed(encoding).iter().filter(|chunk| !chunk.is_empty()).try_for_each(|chunk| answer.chunk(chunk))?;
            answer.end()
        });
        let recorder = Recorder::start(&upstream.url());
        let answer = Client::post(&recorder.address, REQUEST).answer();
        assert_eq!(answer.body, compressed(encoding).concat(), "{encoding}");
        assert_eq!(answer.header("content-encoding"), Some(encoding));
        let trace = recorder.trace();
        assert_eq!(
            (trace.outcome, &trace.response.body["content"]),
            (ExchangeOutcome::Complete, &answer_content()),
            "{encoding}"
        );
    }
}

#[test]
fn an_event_reaches_the_client_before_the_upstream_has_sent_the_next() {
    let (open, gate) = gate();
    let upstream = Upstream::start(move |_, answer| {
        answer.stream()?;
        for frame in frames() {
            answer.chunk(frame)?;
            wait(&gate);
        }
        answer.end()
    });
    let recorder = Recorder::start(&upstream.url());
    let mut client = Client::post(&recorder.address, REQUEST);
    read_head(&mut client.reader);
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
        wait(&gate);
        answer.end()
    });
    let recorder = Recorder::start(&upstream.url());
    let mut client = Client::post(&recorder.address, REQUEST);
    read_head(&mut client.reader);
    client.read_until("message_stop");
    recorder.signal("KILL");
    assert_eq!(recorder.trace().outcome, ExchangeOutcome::Complete);
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
    let (status, stderr) = recorder.stop();
    assert!(status.success() && stderr.contains("recorded 1 exchange to "), "{stderr}");
    assert!(stderr.trim_end().ends_with("(1 upstream_error)"), "{stderr}");
    assert!(stderr.contains("#1 POST /v1/messages?beta=true 200 upstream_error, 4 events\n"), "{stderr}");
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
    let head = Client::send(&recorder.address, "HEAD", "/", &["connection: close"], "");
    let head = read_head(&mut { head.reader });
    assert_eq!((head.status(), head.header("content-length")), (200, Some("5")));
    assert_eq!(Client::send(&recorder.address, "GET", "/health", &[], "").answer().text(), "ok");
    assert!(files(recorder.folder.path()).is_empty());
    assert_eq!(Client::send(&recorder.address, "GET", "/v1/models", &[], "").answer().text(), "{\"data\":[]}");
    let trace = recorder.trace();
    assert_eq!(
        (trace.request.method.as_str(), trace.request.path.as_str(), &trace.request.body),
        ("GET", "/v1/models", &Value::Null)
    );
    assert!(recorder.stop().0.success());
}

#[test]
fn an_upstream_that_is_not_there_gives_502_in_anthropics_form() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let recorder = Recorder::start(&format!("http://127.0.0.1:{port}"));
    let answer = Client::post(&recorder.address, REQUEST).answer();
    assert_eq!(answer.status(), 502);
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!("api_error")));
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("no answer from http://127.0.0.1:{port}: ")), "{message}");
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
        has_arrived.recv().unwrap();
        if events > 0 {
            read_head(&mut client.reader);
            client.read_until("content_block_start");
        }
        drop(client);
        was_closed.recv().unwrap();
        recorder.stop();
        let trace = recorder.trace();
        assert_eq!((trace.outcome, trace.response.events.len()), (ExchangeOutcome::ClientClosed, events));
    }
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
        wait(&gate);
        answer.chunk(frames()[1..].concat().replace("look", &model))?;
        answer.end()
    });
    let recorder = Recorder::start(&upstream.url());
    let clients: Vec<Client> = (1..=CLIENTS)
        .map(|number| {
            let client = Client::post(&recorder.address, &REQUEST.replace("claude-test", &format!("model-{number}")));
            has_arrived.recv().unwrap();
            client
        })
        .collect();
    for number in 1..=CLIENTS {
        wait_for_text(&recorder.session().join(format!("{number:04}.json.partial")), &format!("model-{number}"));
    }
    assert_eq!(files(recorder.folder.path()).len(), CLIENTS, "one partial file each");
    (0..CLIENTS).for_each(|_| open.send(()).unwrap());
    for client in clients {
        assert!(client.answer().whole);
    }
    let traces: Vec<Trace> = files(recorder.folder.path()).iter().map(|file| trace::read(file).unwrap()).collect();
    assert_eq!(traces.len(), CLIENTS);
    for (number, trace) in (1..).zip(traces) {
        assert_eq!((trace.seq, trace.outcome), (number, ExchangeOutcome::Complete));
        assert_eq!(trace.response.body["content"][0]["text"], format!("Let mé model-{number} 🦀."));
    }
}

/// A recorder with one open exchange, whose client has got `events` events. The gate opens the rest.
fn open_exchange(events: usize) -> (Recorder, Client, mpsc::Sender<()>) {
    let (open, gate) = gate();
    let upstream = Upstream::start(move |_, answer| {
        answer.stream()?;
        answer.chunk(frames()[..events].concat())?;
        wait(&gate);
        answer.chunk(frames()[events..].concat())?;
        answer.end()
    });
    let recorder = Recorder::start(&upstream.url());
    let mut client = Client::post(&recorder.address, REQUEST);
    read_head(&mut client.reader);
    client.read_until(&frames()[events - 1]);
    (recorder, client, open)
}

/// Waits until a file holds `text`: the writer's thread runs beside the stream.
fn wait_for_text(file: &Path, text: &str) {
    while !fs::read_to_string(file).is_ok_and(|content| content.contains(text)) {
        std::thread::yield_now();
    }
}

#[test]
fn after_kill_9_recover_makes_a_truncated_trace_of_what_had_come() {
    let (mut recorder, _client, _open) = open_exchange(4);
    let partial = recorder.session().join("0001.json.partial");
    wait_for_text(&partial, "Let mé ");
    let live = anyclaude().args(["trace", "recover"]).arg(recorder.folder.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&live.stdout).contains("still being recorded"), "{live:?}");

    recorder.signal("KILL");
    recorder.wait();
    assert_eq!(files(recorder.folder.path()), std::slice::from_ref(&partial));
    // A line that the kill tore.
    fs::File::options().append(true).open(&partial).unwrap().write_all(b"{\"event\":{\"at_us\":12").unwrap();
    let recovered = anyclaude().args(["trace", "recover"]).arg(recorder.folder.path()).output().unwrap();
    assert!(recovered.status.success(), "{recovered:?}");
    let trace = recorder.trace();
    assert_eq!(trace.outcome, ExchangeOutcome::Truncated);
    assert_eq!(event_names(&trace), ["message_start", "content_block_start", "ping", "content_block_delta"]);
    assert_eq!(trace.response.body["content"], json!([{"type":"text","text":"Let mé "}]));
    assert_eq!(validate::problems_of(&trace), Vec::<String>::new());
}

#[test]
fn when_told_to_stop_open_exchanges_are_recorded_as_truncated() {
    for signal in ["TERM", "INT"] {
        let (mut recorder, client, _open) = open_exchange(4);
        recorder.signal(signal);
        let (status, stderr) = recorder.wait();
        assert!(status.success() && stderr.trim_end().ends_with("(1 truncated)"), "{stderr}");
        let trace = recorder.trace();
        assert_eq!((trace.outcome, trace.response.events.len()), (ExchangeOutcome::Truncated, 4));
        let mut rest = Vec::new();
        { client.reader }.read_to_end(&mut rest).ok();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "the client must not take it for a whole answer");
    }
}

#[test]
fn a_client_that_does_not_read_cannot_keep_the_recorder_from_stopping() {
    let (flooding, is_flooding) = mpsc::channel();
    let flooding = Mutex::new(flooding);
    let upstream = Upstream::start(move |_, answer| {
        answer.stream()?;
        answer.chunk(frames()[..2].concat())?;
        for round in 0.. {
            answer.chunk(text_frame(&"word ".repeat(20_000)))?;
            if round == 20 {
                flooding.lock().unwrap().send(()).ok();
            }
        }
        Ok(())
    });
    let mut recorder = Recorder::start(&upstream.url());
    let _client = Client::post(&recorder.address, REQUEST);
    is_flooding.recv().unwrap();
    assert!(recorder.stop().0.success());
    assert_eq!(recorder.trace().outcome, ExchangeOutcome::Truncated);
}

#[test]
fn an_exchange_that_ends_in_time_is_complete_although_the_recorder_was_told_to_stop() {
    let (mut recorder, client, open) = open_exchange(4);
    open.send(()).unwrap();
    let mut rest = Vec::new();
    let mut reader = client.reader;
    while let Some(chunk) = upstream::read_chunk(&mut reader).unwrap() {
        rest.extend(chunk);
    }
    recorder.stop();
    assert_eq!(recorder.trace().outcome, ExchangeOutcome::Complete);
}

#[test]
fn no_secret_is_ever_on_the_disk() {
    const KEY: &str = "my-own-key-0123456789";
    const TOKEN: &str = "bearer-token-987654321";
    const QUERY: &str = "query-secret-5555";
    const FOREIGN: &str = "sk-ant-api03-ForeignKey_abc123";
    let secrets = [KEY, TOKEN, QUERY, FOREIGN, "cookie-4242-value", "hunter2-password"];
    let (open, gate) = gate();
    let upstream = Upstream::start(move |_, answer| {
        answer.head(200, &["content-type: text/event-stream", &format!("set-cookie: {TOKEN}"), &format!("x-echo: {KEY}")])?;
        answer.chunk(frames()[..2].concat())?;
        // Whole, and spread over deltas.
        answer.chunk(text_frame(&format!("Your key is {KEY}, yes ")))?;
        for piece in ["and my", "-own-ke", "y-0123456789. Then sk-an", "t-api03-ForeignKey_", "abc123 ok. "] {
            answer.chunk(text_frame(piece))?;
        }
        answer.chunk(text_frame("{\"api_key\": \"hunter2-"))?;
        answer.chunk(text_frame("password\"} done."))?;
        wait(&gate);
        answer.chunk(frames()[5..].concat())?;
        answer.end()
    });
    let recorder = Recorder::start_with(&upstream.url(), &[("ANYCLAUDE_DEBUG", "3")]);
    let body = json!({"model": "m", "max_tokens": 1, "api_key": "hunter2-password", "messages": [
        {"role": "user", "content": format!("{KEY} {FOREIGN}")}]});
    let headers = [
        &format!("x-api-key: {KEY}"),
        &format!("authorization: Bearer {TOKEN}"),
        "cookie: session=cookie-4242-value",
        &format!("x-other: see {TOKEN}"),
    ];
    let path = format!("/v1/messages?token={QUERY}");
    let mut client = Client::send(&recorder.address, "POST", &path, &headers, &body.to_string());
    read_head(&mut client.reader);
    client.read_until("done.");
    let search = || {
        for file in files(recorder.folder.path()) {
            let content = fs::read(&file).unwrap();
            for secret in secrets {
                assert!(!content.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret} in {}", file.display());
            }
        }
    };
    let partial = recorder.session().join("0001.json.partial");
    wait_for_text(&partial, "done.");
    search();
    open.send(()).unwrap();
    client.read_until("message_stop");
    search();
    let trace = recorder.trace();
    assert_eq!(
        trace.response.body["content"][0]["text"],
        "Your key is [redacted], yes and [redacted]. Then [redacted] ok. {\"api_key\": \"[redacted]\"} done."
    );
    assert_eq!(trace.request.path, "/v1/messages?token=[redacted]");
    assert_eq!(trace.request.headers["x-other"], "see [redacted]");
    assert_eq!(validate::problems_of(&trace), Vec::<String>::new());
    let mut recorder = recorder;
    let (_, log) = recorder.stop();
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} in the log: {log}");
    }
}

#[test]
fn a_disk_that_fails_costs_the_trace_and_not_the_answer() {
    let upstream = streaming(64);
    let mut recorder = Recorder::start(&upstream.url());
    // A file where the folder was: nothing can be written there, whoever runs the test.
    fs::remove_dir(recorder.session()).unwrap();
    fs::write(recorder.session(), "").unwrap();
    let answer = Client::post(&recorder.address, REQUEST).answer();
    assert!(answer.whole && answer.text() == frames().concat());
    let (status, stderr) = recorder.stop();
    assert_eq!(status.code(), Some(3));
    assert!(stderr.contains("error: not everything was recorded: cannot make "), "{stderr}");
}

#[test]
fn what_cannot_start_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port().to_string();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let fails = |arguments: &[&str]| {
        let output = anyclaude().arg("record").args(arguments).current_dir(folder.path()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap().replace(&port, "PORT");
        format!("exit {}\n{stderr}", output.status.code().unwrap())
    };
    insta::assert_snapshot!(fails(&["--port", &port]), @r"
    exit 3
    error: port PORT on 127.0.0.1 is in use; stop what listens there, or choose another with --port (0: any free one)
    ");
    insta::assert_snapshot!(fails(&["--upstream", "localhost:8081"]), @r"
    exit 2
    error: --upstream localhost:8081: it must begin with http:// or https://; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
    ");
    insta::assert_snapshot!(fails(&["--out", "file", "--session", "s"]), @r"
    exit 2
    error: cannot write to file/s: Not a directory (os error 20); choose another folder with --out
    ");
    insta::assert_snapshot!(fails(&["--session", "../x"]), @r"
    exit 2
    error: --session ../x: it becomes a folder's name, so use letters, digits, '-', '_' and '.' only
    ");
    assert_eq!(files(folder.path()), [file], "nothing is left behind");
}
