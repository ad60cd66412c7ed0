//! Every kind of secret in every place of an exchange, through the built binary: no byte that it writes has one, neither in files
//! while they grow nor in logs of any level, copies or reports.

use std::fs;
use std::sync::{Mutex, mpsc};

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use self::kinds::{Kind, kinds};
use super::wait_for_text;
use crate::support::deadline::receive;
use crate::support::demo::session;
use crate::support::recorder::{Recorder, files};
use crate::support::sandbox::Sandbox;
use crate::support::upstream::{Answer, Client, Message, Upstream, frames};

#[path = "../../../src/trace/redact/tests/kinds.rs"]
mod kinds;

/// The last that an answer says before it waits to be looked at.
const MARK: &str = "this is the mark";

/// How many bytes of a secret may not be written. A shorter secret is looked for together with what stands before it: a number of
/// four digits alone may be a time.
const PART: usize = 8;

/// How long the deltas of a text are, in characters: one text for each.
const DELTAS: [usize; 5] = [1, 3, 8, 21, usize::MAX];

/// The user's own pattern, and what only it knows.
const OWN_PATTERN: &str = "[redact]\npatterns = ['ACME [a-z]+ [0-9]{6}']\n";
const OWN_SECRET: &str = "ACME walnut 304050";

/// All kinds of secrets, with one that only the user's own pattern knows.
fn all_kinds() -> Vec<Kind> {
    let own = Kind { name: "the user's own", text: OWN_SECRET.into(), secret: OWN_SECRET.into() };
    kinds().into_iter().chain([own]).collect()
}

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

/// Texts, thoughts and arguments, each in deltas of all lengths; then [`MARK`], and then it may end.
fn stream(headers: &[&str], text: &str, answer: &mut Answer) -> std::io::Result<()> {
    answer.head(200, &[headers, &["content-type: text/event-stream"]].concat())?;
    answer.chunk(&frames()[0])?;
    let arguments = json!({"command": text}).to_string();
    let start = json!({"type": "tool_use", "id": "t", "name": "Bash", "input": {}});
    let kinds = [
        (json!({"type": "text", "text": ""}), "text_delta", "text", text),
        (json!({"type": "thinking", "thinking": "", "signature": ""}), "thinking_delta", "thinking", text),
        (start, "input_json_delta", "partial_json", &arguments),
    ];
    let blocks = kinds.iter().flat_map(|kind| DELTAS.map(|length| (kind, length)));
    for (index, ((start, kind, field, said), length)) in blocks.enumerate() {
        let characters: Vec<char> = said.chars().collect();
        let mut block = frame(&json!({"type": "content_block_start", "index": index, "content_block": start}));
        for piece in characters.chunks(length) {
            let delta = json!({"type": kind, (*field): String::from_iter(piece)});
            block += &frame(&json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        answer.chunk(block + &frame(&json!({"type": "content_block_stop", "index": index})))?;
    }
    answer.chunk(frame(&json!({"type": "ping", "note": text})) + &frame(&json!({"type": "ping", "note": MARK})))
}

fn frame(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
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

/// What must not be written, each with the kind that it belongs to.
struct Parts {
    search: AhoCorasick,
    kinds: Vec<&'static str>,
}

impl Parts {
    fn of(kinds: &[Kind]) -> Self {
        let parts = kinds.iter().flat_map(|kind| parts(kind).into_iter().map(|part| (part, kind.name)));
        let (parts, kinds): (Vec<String>, Vec<&str>) = parts.unzip();
        Self { search: AhoCorasick::new(parts).unwrap(), kinds }
    }

    /// Fails where something that was written has a part of a secret.
    fn assert_clean(&self, what: &str, written: impl AsRef<[u8]>) {
        let written = written.as_ref();
        let found = self.search.find_iter(written).map(|found| {
            let around = &written[found.start().saturating_sub(40)..written.len().min(found.end() + 40)];
            format!("{}: …{}…", self.kinds[found.pattern()], String::from_utf8_lossy(around))
        });
        let found: Vec<String> = found.take(5).collect();
        assert!(found.is_empty(), "{what} has parts of secrets:\n{}", found.join("\n"));
    }

    /// The same for a trace or what there is of one, and for the texts that its deltas spell.
    fn assert_clean_trace(&self, what: &str, written: &[u8]) {
        self.assert_clean(what, written);
        self.assert_clean(&format!("the texts in {what}"), spelled(written));
    }

    /// The same for every file below a folder.
    fn assert_clean_below(&self, recorder: &Recorder, folder: &str) {
        for file in files(&recorder.sandbox.path(folder)) {
            self.assert_clean_trace(&file.display().to_string(), &fs::read(&file).unwrap());
        }
    }
}

/// The parts of a secret, as they are and as JSON, an address and base64 would write them.
fn parts(kind: &Kind) -> Vec<String> {
    let Kind { text, secret, .. } = kind;
    if secret.len() < PART {
        let start = text.find(secret.as_str()).unwrap();
        let beside = &text[start.saturating_sub(PART)..start + secret.len()];
        return written(beside).into();
    }
    let windows = secret.as_bytes().windows(PART).map(|window| std::str::from_utf8(window).unwrap());
    let mut parts: Vec<String> = windows.flat_map(written).collect();
    for offset in 0..3 {
        let encoded = STANDARD.encode(format!("{}{secret}", "-".repeat(offset)));
        // The characters that hold bits of the secret only, whatever stands around it.
        let own = &encoded[(offset * 8).div_ceil(6)..(offset + secret.len()) * 8 / 6];
        parts.extend(own.as_bytes().windows(PART * 8 / 6 + 1).map(|window| String::from_utf8_lossy(window).into_owned()));
    }
    parts
}

/// A text as it is, in JSON and in an address.
fn written(text: &str) -> [String; 3] {
    let json = json!(text).to_string();
    [text.to_owned(), json.trim_matches('"').to_owned(), utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()]
}

/// The texts that the deltas of a trace, a partial file or a stream of JSON lines spell, one after the other.
fn spelled(written: &[u8]) -> String {
    let values = serde_json::Deserializer::from_slice(written).into_iter::<Value>();
    let mut spelled = String::new();
    // The last line of a file that grows may be half of one.
    values.map_while(Result::ok).for_each(|value| spell(&value, &mut spelled));
    spelled
}

fn spell(value: &Value, spelled: &mut String) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if ["text", "thinking", "partial_json"].contains(&name.as_str()) => {
                        spelled.push_str(text)
                    }
                    value => spell(value, spelled),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| spell(value, spelled)),
        _ => {}
    }
}

/// All kinds of answers.
const ANSWERS: [&str; 4] = ["an error", "no JSON", "a whole answer", "a stream"];

/// Records every kind at this level of the log, `each` of the kinds of answers to it; the recorder, stopped.
fn recorded(kinds: &[Kind], parts: &Parts, level: &str, each: usize) -> Recorder {
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
    let sandbox = Sandbox::new();
    sandbox.write("anyclaude.toml", OWN_PATTERN);
    let mut recorder = Recorder::start_in(sandbox, &upstream.url(), &[("ANYCLAUDE_DEBUG", level)]);
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
        parts.assert_clean_trace("a partial file", &fs::read(&partial).unwrap());
        open.send(()).unwrap();
        assert!(client.answer().whole);
    }
    let log = recorder.stop().exits(0).stderr;
    parts.assert_clean(&format!("the log at level {level}"), log);
    parts.assert_clean_below(&recorder, "traces");
    assert_eq!(recorder.files().len(), number);
    recorder
}

#[test]
fn no_secret_is_in_a_file_or_a_log_of_any_level() {
    let kinds = all_kinds();
    assert!(kinds.len() >= 60);
    let parts = Parts::of(&kinds);
    let levels = ["0", "1", "2"];
    levels.iter().for_each(|level| drop(recorded(&kinds, &parts, level, 1)));
    println!("total: {} kinds of secrets, {} requests, 0 leaked", kinds.len(), kinds.len() * levels.len());
}

#[test]
fn no_secret_is_in_copies_and_reports() {
    let kinds = all_kinds();
    let parts = Parts::of(&kinds);
    let recorder = recorded(&kinds, &parts, "3", ANSWERS.len());
    for (folder, flags) in [("clean", &[][..]), ("kept", &["--keep-turns"])] {
        recorder.sandbox.run(&[&["trace", "scrub", "--out", folder, "traces"], flags].concat()).exits(0);
        parts.assert_clean_below(&recorder, folder);
    }
    for command in [
        &["trace", "ls", "traces"][..],
        &["trace", "stats", "traces"],
        &["trace", "show", "traces/s/0004.json"],
        &["trace", "validate", "traces"],
    ] {
        let ran = recorder.sandbox.run(command);
        parts.assert_clean(&command.join(" "), ran.stdout + &ran.stderr);
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
    parts.assert_clean("the replay's output", ran.stdout + &ran.stderr);
    for folder in ["out", "snapshots"] {
        assert!(!files(&recorder.sandbox.path(folder)).is_empty());
        parts.assert_clean_below(&recorder, folder);
    }
    println!("total: {} kinds of secrets, {} requests, 0 leaked", kinds.len(), kinds.len() * ANSWERS.len());
}

/// Errors quote what servers and files say.
#[test]
fn no_secret_is_in_the_error_of_a_command() {
    let kinds = all_kinds();
    let parts = Parts::of(&kinds);
    let sandbox = session();
    sandbox.write("anyclaude.toml", OWN_PATTERN);
    let said: String = kinds.iter().map(|kind| format!("{}\n", kind.text)).collect();
    let body = json!({"type": "error", "error": {"type": "invalid_request_error", "message": said}}).to_string();
    let server = Upstream::start(move |_, answer| answer.whole(400, &[], &body));
    sandbox.write("traces/other/0001.json", json!({"version": 1, "id": {(said.as_str()): 1}}).to_string());
    for command in [
        &["replay", "traces/demo", "--backend", &server.url(), "--phases", "cold"][..],
        &["load", "traces/demo", "--backend", &server.url(), "--requests", "2"],
        &["trace", "show", "traces/other/0001.json"],
        &["trace", "import", "traces/other/0001.json"],
        &["trace", "show", OWN_SECRET],
    ] {
        let ran = sandbox.run(command);
        assert_ne!(ran.code, Some(0), "{ran:?}");
        parts.assert_clean(&command.join(" "), ran.stdout + &ran.stderr);
    }
}
