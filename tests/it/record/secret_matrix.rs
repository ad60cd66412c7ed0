//! Every kind of secret in every place of an exchange, through the built binary: no byte that it writes has one, neither in files
//! while they grow nor in logs of any level, copies or reports.

use std::fs;
use std::sync::{Mutex, mpsc};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use self::kinds::{Kind, kinds};
use super::wait_for_text;
use crate::support::deadline::receive;
use crate::support::recorder::{Recorder, files};
use crate::support::upstream::{Answer, Client, Message, Upstream, frames};

#[path = "../../../src/trace/redact/tests/kinds.rs"]
mod kinds;

/// The last that an answer says before it waits to be looked at.
const MARK: &str = "this is the mark";

/// What is not looked for: a number of four digits may be a time.
const SHORT: usize = 8;

/// What an upstream sends back: what is asked for, in all places of an answer.
fn echo(request: &Message, answer: &mut Answer) -> std::io::Result<()> {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let text = body["system"].as_str().unwrap();
    let header = request.header("x-note").map(|note| format!("x-echo: {note}"));
    let headers: Vec<&str> = header.iter().map(String::as_str).collect();
    match body["model"].as_str().unwrap() {
        "an error" => {
            let error = json!({"type": "error", "error": {"type": "invalid_request_error", "message": format!("no: {text}")}});
            answer.whole(400, &headers, error.to_string())
        }
        "no JSON" => answer.whole(502, &headers, format!("<html>{text}</html>")),
        "a whole answer" => {
            let content = json!([{"type": "text", "text": text}, {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": text}}]);
            answer.whole(200, &headers, json!({"type": "message", "content": content}).to_string())
        }
        _ => stream(&headers, text, answer),
    }
}

/// A text, thoughts and arguments, each cut somewhere else with each step; then [`MARK`], and then it may end.
fn stream(headers: &[&str], text: &str, answer: &mut Answer) -> std::io::Result<()> {
    answer.head(200, &[headers, &["content-type: text/event-stream"]].concat())?;
    answer.chunk(&frames()[0])?;
    let arguments = json!({"command": text}).to_string();
    let start = json!({"type": "tool_use", "id": "t", "name": "Bash", "input": {}});
    for (index, (start, kind, field, said)) in [
        (json!({"type": "text", "text": ""}), "text_delta", "text", text),
        (json!({"type": "thinking", "thinking": "", "signature": ""}), "thinking_delta", "thinking", text),
        (start, "input_json_delta", "partial_json", &arguments),
    ]
    .into_iter()
    .enumerate()
    {
        send(answer, &json!({"type": "content_block_start", "index": index, "content_block": start}))?;
        let characters: Vec<char> = said.chars().collect();
        for piece in characters.chunks(3 + (text.len() + index) % 5) {
            let delta = json!({"type": kind, (field): String::from_iter(piece)});
            send(answer, &json!({"type": "content_block_delta", "index": index, "delta": delta}))?;
        }
        send(answer, &json!({"type": "content_block_stop", "index": index}))?;
    }
    send(answer, &json!({"type": "ping", "note": text}))?;
    send(answer, &json!({"type": "ping", "note": MARK}))
}

fn send(answer: &mut Answer, event: &Value) -> std::io::Result<()> {
    answer.chunk(format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
}

/// A request with the text in all places of one.
fn ask(recorder: &Recorder, model: &str, kind: &Kind) -> Client {
    let Kind { text, .. } = kind;
    let body = json!({
        "model": model, "max_tokens": 9, "stream": true, "system": text, "metadata": {"note": text},
        "tools": [{"name": "Bash", "description": text, "input_schema": {"type": "object", "properties": {"command": {"type": "string", "default": text}}}}],
        "messages": [
            {"role": "user", "content": text},
            {"role": "assistant", "content": [{"type": "text", "text": format!("Yes, {text}")}, {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": text}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": json!({"output": text}).to_string()},
                {"type": "tool_result", "tool_use_id": "u", "content": [{"type": "text", "text": text}]}]}]
    });
    let query = utf8_percent_encode(text, NON_ALPHANUMERIC);
    let note = format!("x-note: {text}");
    // A header is one line.
    let headers = if text.contains(['\n', '\r']) { vec![] } else { vec![note.as_str()] };
    Client::send(&recorder.address, "POST", &format!("/v1/messages?note={query}"), &headers, body.to_string())
}

/// What has the kind's secret, as it is or as JSON or an address would write it.
fn leaks<'a>(kinds: &'a [Kind], written: &'a [u8]) -> impl Iterator<Item = &'a str> {
    let holds = |needle: &str| written.windows(needle.len()).any(|bytes| bytes == needle.as_bytes());
    let leaks = move |kind: &&Kind| {
        let json = json!(kind.secret).to_string();
        let address = utf8_percent_encode(&kind.secret, NON_ALPHANUMERIC).to_string();
        kind.secret.len() >= SHORT && (holds(&kind.secret) || holds(json.trim_matches('"')) || holds(&address))
    };
    kinds.iter().filter(leaks).map(|kind| kind.name)
}

/// Fails where something that was written has a secret.
fn assert_clean(kinds: &[Kind], what: &str, written: impl AsRef<[u8]>) {
    let leaked: Vec<&str> = leaks(kinds, written.as_ref()).collect();
    assert!(leaked.is_empty(), "{what} has secrets: {leaked:?}");
}

/// Fails where a file below a folder has a secret.
fn assert_clean_below(kinds: &[Kind], recorder: &Recorder, folder: &str) {
    for file in files(&recorder.sandbox.path(folder)) {
        assert_clean(kinds, &file.display().to_string(), fs::read(&file).unwrap());
    }
}

/// All kinds of answers.
const ANSWERS: [&str; 4] = ["an error", "no JSON", "a whole answer", "a stream"];

/// Records every kind at this level of the log, `each` of the kinds of answers to it; the recorder, stopped.
fn recorded(kinds: &[Kind], level: &str, each: usize) -> Recorder {
    let (open, gate) = mpsc::channel::<()>();
    let (gate, (waits, waiting)) = (Mutex::new(gate), mpsc::channel());
    let waits = Mutex::new(waits);
    let upstream = Upstream::start(move |request, answer| {
        echo(&request, answer)?;
        if request.line.contains("/v1/messages") && String::from_utf8_lossy(&request.body).contains("\"model\":\"a stream\"") {
            waits.lock().unwrap().send(()).ok();
            gate.lock().unwrap().recv().ok();
            answer.chunk(frames()[10..].concat())?;
            answer.end()?;
        }
        Ok(())
    });
    let mut recorder = Recorder::start_with(&upstream.url(), &[("ANYCLAUDE_DEBUG", level)]);
    let mut number = 0;
    let asked =
        kinds.iter().enumerate().flat_map(|(at, kind)| (0..each).map(move |more| (kind, ANSWERS[(at + more) % ANSWERS.len()])));
    for (kind, model) in asked {
        number += 1;
        if model != "a stream" {
            assert!(ask(&recorder, model, kind).answer().whole);
            continue;
        }
        let client = ask(&recorder, "a stream", kind);
        receive("the wait at the mark", &waiting);
        let partial = recorder.session(&format!("{number:04}.json.partial"));
        wait_for_text(&partial, MARK);
        assert_clean(std::slice::from_ref(kind), "a partial file", fs::read(&partial).unwrap());
        open.send(()).unwrap();
        assert!(client.answer().whole);
    }
    let log = recorder.stop().exits(0).stderr;
    assert_clean(kinds, &format!("the log at level {level}"), log);
    assert_clean_below(kinds, &recorder, "traces");
    assert_eq!(recorder.files().len(), number);
    recorder
}

#[test]
fn no_secret_is_in_a_file_or_a_log_of_any_level() {
    let kinds = kinds();
    assert!(kinds.len() >= 60);
    for level in ["0", "1", "2"] {
        recorded(&kinds, level, 1);
    }
}

#[test]
fn no_secret_is_in_copies_and_reports() {
    let kinds = kinds();
    let recorder = recorded(&kinds, "3", ANSWERS.len());
    for (folder, flags) in [("clean", &[][..]), ("kept", &["--keep-turns"])] {
        recorder.sandbox.run(&[&["trace", "scrub", "--out", folder, "traces"], flags].concat()).exits(0);
        assert_clean_below(&kinds, &recorder, folder);
    }
    for command in [
        &["trace", "ls", "traces"][..],
        &["trace", "stats", "traces"],
        &["trace", "show", "traces/s/0004.json"],
        &["trace", "validate", "traces"],
    ] {
        let ran = recorder.sandbox.run(command);
        assert_clean(&kinds, &command.join(" "), ran.stdout + &ran.stderr);
    }
    // A server that says the secrets again, of which the replay reports.
    let texts: Vec<String> = kinds.iter().map(|kind| kind.text.clone()).collect();
    let next = Mutex::new(0);
    let server = Upstream::start(move |request, answer| {
        if !request.line.starts_with("POST") {
            return answer.whole(404, &[], "");
        }
        let mut next = next.lock().unwrap();
        *next += 1;
        stream(&[], &texts[*next % texts.len()], answer)?;
        answer.chunk(frames()[10..].concat())?;
        answer.end()
    });
    let outputs = ["--json", "out/a.json", "--html", "out/a.html", "--junit", "out/a.xml"];
    let replay = ["replay", "traces", "--backend", &server.url(), "--phases", "cold"];
    fs::create_dir(recorder.sandbox.path("out")).unwrap();
    let ran = recorder.sandbox.run(&[&replay[..], &outputs].concat());
    assert!(ran.stdout.contains("NEW"), "{ran:?}");
    assert_clean(&kinds, "the replay's output", ran.stdout + &ran.stderr);
    for folder in ["out", "snapshots"] {
        assert!(!files(&recorder.sandbox.path(folder)).is_empty());
        assert_clean_below(&kinds, &recorder, folder);
    }
}
