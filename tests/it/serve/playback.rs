//! `anyclaude serve --traces` as its users run it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use serde_json::{Value, json};

#[cfg(feature = "mlx")]
use crate::support::MODEL;
#[cfg(feature = "mlx")]
use crate::support::clients::{launch_claude, run_claude};
use crate::support::deadline::within;
use crate::support::demo::{session, write_trace};
use crate::support::http::{client, post};
use crate::support::listen;
use crate::support::process::Running;
use crate::support::replay_backend::{Flaw, ReplayBackend};
use crate::support::sandbox::{Sandbox, portable, repository};

/// A server over recordings, and its address.
fn playing(sandbox: &Sandbox, traces: &str) -> (Running, String) {
    let mut running = Running::start(&mut sandbox.anyclaude(&["serve", "--traces", traces, "--port", "0"]));
    let url = running.says("listening on ").replace("listening on ", "");
    (running, url)
}

fn stopped(mut running: Running, code: i32) -> String {
    running.signal("INT");
    let stderr = running.end().exits(code).stderr;
    // What is said of requests, behind the lines of every server.
    let lines = stderr.lines().filter(|line| {
        ["missed ", "answering", "1 request", "2 request", "0 request"].iter().any(|start| line.starts_with(start))
    });
    portable(&lines.map(|line| format!("{line}\n")).collect::<String>())
}

/// What the real client sent and got, committed as this repository's own recordings.
#[test]
fn a_recorded_request_gets_its_recorded_events() {
    let folder = repository("traces/read-file");
    let trace: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("0001.json")).unwrap()).unwrap();
    let sandbox = Sandbox::new();
    let (running, url) = playing(&sandbox, folder.to_str().unwrap());
    let mut request = trace["request"]["body"].clone();
    request["metadata"] = json!({"user_id": "somebody else"});
    let answer = post(&format!("{url}/v1/messages"), &request).succeeds();
    let data = answer.text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> =
        data.map(|data| serde_json::from_str(data).unwrap()).filter(|event: &Value| event["type"] != "ping").collect();
    let recorded = trace["response"]["events"].as_array().unwrap().iter().map(|event| event["data"].clone());
    assert_eq!(events, recorded.filter(|event| event["type"] != "ping").collect::<Vec<_>>());
    insta::assert_snapshot!(stopped(running, 0), @"
    answering with 2 recorded answers
    1 request as recorded, 0 without a recording
    ");
}

/// Claude Code itself does on the recordings what it did on a model, and reads the file again. A file that says something else makes
/// another request.
#[cfg(feature = "mlx")]
#[test]
fn the_real_client_does_again_what_it_did() {
    let sandbox = Sandbox::new();
    sandbox.write("hello.txt", "hello\n");
    let asked = ["-p", "Read hello.txt", "--allowedTools", "Read"];
    let recorded = launch_claude(&sandbox, &["--model", MODEL, "--record"], &asked).exits(0);
    let traces = sandbox.home(".anyclaude/traces");
    let (running, url) = playing(&sandbox, traces.to_str().unwrap());
    assert_eq!(run_claude(&sandbox, &url, &asked).exits(0).stdout, recorded.stdout);
    let said = stopped(running, 0);
    assert!(said.ends_with("2 requests as recorded, 0 without a recording\n"), "{said}");

    sandbox.write("hello.txt", "goodbye\n");
    let (running, url) = playing(&sandbox, traces.to_str().unwrap());
    let refused = run_claude(&sandbox, &url, &asked);
    assert!(refused.stdout.contains("no recording has this request"), "{refused:?}");
    let said = stopped(running, 1);
    assert!(said.contains(r#"is recorded, "1\tgoodbye\n2\t" came"#), "{said}");
    // It does not try other requests.
    assert!(said.ends_with("1 request as recorded, 1 without a recording\n"), "{said}");
}

#[test]
fn a_request_without_a_recording_is_told_what_differs_and_fails_the_run() {
    let sandbox = session();
    let (running, url) = playing(&sandbox, "traces");
    let mut request = serde_json::from_str::<Value>(&sandbox.read("traces/demo/001.json")).unwrap()["request"]["body"].take();
    request["messages"][0]["content"] = json!("Please read goodbye.txt");
    let reply = post(&format!("{url}/v1/messages"), &request);
    let error = reply.json();
    assert_eq!((reply.status, &error["type"], &error["error"]["type"]), (410, &json!("error"), &json!("not_found_error")));
    assert!(error["error"]["message"].as_str().unwrap().contains("demo/001 comes nearest"), "{error}");
    insta::assert_snapshot!(stopped(running, 1), @r#"
    answering with 2 recorded answers
    missed 1 time: no recording has this request; demo/001 comes nearest and differs first at messages[0].content[0].text, character 13: "Please read hello.txt" is recorded, "Please read goodbye.txt" came
    0 requests as recorded, 1 without a recording
    "#);
}

#[test]
fn what_was_not_recorded_may_be_asked_elsewhere() {
    let (sandbox, server) = (session(), ReplayBackend::without_cache_control(Flaw::None));
    let ask = format!("ask:{}", server.url);
    let mut running = Running::start(&mut sandbox.anyclaude(&["serve", "--traces", "traces", "--port", "0", "--on-miss", &ask]));
    let url = running.says("listening on ").replace("listening on ", "");
    let mut request = serde_json::from_str::<Value>(&sandbox.read("traces/demo/001.json")).unwrap()["request"]["body"].take();
    request["messages"][0]["content"] = json!("Please read goodbye.txt");
    post(&format!("{url}/v1/messages"), &request).succeeds();
    assert_eq!(server.requests().len(), 1);
    insta::assert_snapshot!(stopped(running, 0), @"
    answering with 2 recorded answers
    0 requests as recorded, 1 answered elsewhere, 0 without a recording
    ");
}

/// What a client sent and got, recorded, answers a replay of it without a model.
#[test]
fn a_replay_on_recordings_sends_requests_as_they_were_recorded() {
    let sandbox = Sandbox::new();
    let body = json!({
        "model": "claude-opus", "max_tokens": 32_000, "temperature": 1, "thinking": {"type": "adaptive"},
        "tools": [{"name": "Read", "input_schema": {"type": "object"}}],
        "messages": [{"role": "user", "content": "Please read hello.txt"}],
    });
    write_trace(&sandbox, 1, &[("/request/body", body)]);
    let (mut running, url) = playing(&sandbox, "traces");
    let ran = sandbox.run(&["replay", "--backend", &url, "--update", "--fidelity"]).exits(0);
    assert!(
        ran.stdout.contains("The backend answers with recordings: requests were sent as they were recorded"),
        "{}",
        ran.stdout
    );
    assert!(!ran.stdout.contains("forced)"), "{}", ran.stdout);
    assert!(ran.stdout.contains("1 trace: 0 as accepted, 1 updated"), "{}", ran.stdout);
    running.signal("INT");
    let ended = running.end().exits(0);
    assert!(ended.stderr.contains("4 requests as recorded, 0 without a recording"), "{}", ended.stderr);
}

/// The server that is asked asks the playback again, as another playback with `--on-miss ask:` may.
#[test]
fn playbacks_that_ask_each_other_end_with_an_error() {
    let asked_again: Arc<OnceLock<String>> = Arc::default();
    let back = asked_again.clone();
    let ask = move |headers: HeaderMap, body: Bytes| async move {
        let url = format!("{}/v1/messages", back.get().unwrap());
        let answer = client().post(url).header("via", &headers["via"]).body(body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        (status, [("content-type", "application/json")], text)
    };
    let ask = format!("ask:{}", listen::routes(Router::new().route("/v1/messages", axum::routing::post(ask))));
    let sandbox = session();
    let mut running = Running::start(&mut sandbox.anyclaude(&["serve", "--traces", "traces", "--port", "0", "--on-miss", &ask]));
    let url = running.says("listening on ").replace("listening on ", "");
    asked_again.set(url.clone()).unwrap();
    let mut request = serde_json::from_str::<Value>(&sandbox.read("traces/demo/001.json")).unwrap()["request"]["body"].take();
    request["messages"][0]["content"] = json!("Please read goodbye.txt");
    let reply = post(&format!("{url}/v1/messages"), &request);
    assert_eq!(reply.status, 410, "{reply:?}");
    insta::assert_snapshot!(stopped(running, 1), @"
    answering with 2 recorded answers
    missed 1 time: no recording has this request, and the server of --on-miss asks this one: give one of them --on-miss fail
    missed 1 time: no recording has this request, and the server that was asked failed: not_found_error: no recording has this request, and the server of --on-miss asks this one: give one of them --on-miss fail
    0 requests as recorded, 2 without a recording
    ");
}

/// As where a server dies: half of the events come, and then nothing, not even the end of the body.
#[test]
fn a_cut_breaks_the_connection() {
    let sandbox = session();
    let mut running = Running::start(&mut sandbox.anyclaude(&["serve", "--traces", "traces", "--port", "0", "--fault", "cut@1"]));
    let address = running.says("listening on ").replace("listening on http://", "");
    let trace: Value = serde_json::from_str(&sandbox.read("traces/demo/001.json")).unwrap();
    let body = trace["request"]["body"].to_string();
    let head = "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let answer = within("the end of the connection", move || {
        let mut answer = Vec::new();
        // What came before an error is in there, too.
        socket.read_to_end(&mut answer).ok();
        String::from_utf8(answer).unwrap()
    });
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("content_block_delta"), "{answer}");
    assert!(!["content_block_stop", "event: error", "\r\n0\r\n"].iter().any(|end| answer.contains(end)), "{answer}");
    insta::assert_snapshot!(stopped(running, 0), @"
    answering with 2 recorded answers
    0 requests as recorded, 0 without a recording
    ");
}

#[test]
fn traces_or_a_model_and_something_to_play() {
    let sandbox = Sandbox::new();
    sandbox.write("traces/readme.txt", "nothing");
    let ran = sandbox.run(&["serve", "--traces", "missing"]);
    insta::assert_snapshot!(portable(&ran.refusal()), @"exit 2: error: missing: no such file or folder; `anyclaude record -- claude` makes traces in traces/, `anyclaude --record` in ~/.anyclaude/traces");
    sandbox.run(&["serve"]).exits(2);
    for (option, reason) in
        [(["--fault", "529@3,cut@3"], "several faults for request 3"), (["--on-miss", "ask:http://"], "ask: and a URL")]
    {
        let refused = sandbox.run(&[&["serve", "--traces", "traces"], &option[..]].concat()).exits(2);
        assert!(refused.stderr.contains(reason), "{}", refused.stderr);
    }
}

/// An option that has no effect is refused; a variable of the environment may be for other runs.
#[cfg(feature = "mlx")]
#[test]
fn options_of_the_engine_are_none_of_the_recordings() {
    let sandbox = session();
    for option in [["--compute-path", "cpu"], ["--cache-dir", "kept"], ["--max-output", "9"], ["--tool-format", "hermes"]] {
        let ran = sandbox.run(&[&["serve", "--traces", "traces", "--port", "0"], &option[..]].concat()).exits(2);
        assert!(ran.stderr.contains(&format!("'--traces <DIR>...' cannot be used with '{}", option[0])), "{}", ran.stderr);
    }
    let mut command = sandbox.anyclaude(&["serve", "--traces", "traces", "--port", "0", "--fault", "529@9"]);
    let mut running = Running::start(command.env("KV_CACHE_DIR", "kept"));
    running.says("listening on ");
    running.signal("INT");
    let ended = running.end().exits(0);
    assert!(ended.stderr.contains("--fault 529@9 did not happen: 0 requests for a message came"), "{}", ended.stderr);
}
