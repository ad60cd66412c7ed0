//! What the commands for many traces take. `make bench-corpus` runs it.
//!
//! `cargo bench --bench corpus -- TRACE COUNT FOLDER`: writes transcripts as Claude Code does, with the system prompt and tools of a
//! recorded trace and so many requests, into FOLDER, imports them with the built program, and lists, counts and searches the
//! traces. Prints time and peak memory of each. Fails where one takes longer or more than the project promises.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Requests in each transcript.
const SESSION: usize = 50;

/// One in so many results of tools has the word that is searched for.
const RARE: usize = 500;
const WORD: &str = "swordfish";

const MOST_TIME: Duration = Duration::from_secs(1);
const LEAST_IMPORT: f64 = 200e6;
const MOST_MEMORY_KB: u64 = 200_000;

fn main() -> Outcome<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).filter(|argument| argument != "--bench").collect();
    let [trace, count, folder] = &arguments[..] else {
        return Err("usage: cargo bench --bench corpus -- TRACE COUNT FOLDER".into());
    };
    let (count, folder): (usize, &Path) = (count.to_string_lossy().parse()?, folder.as_ref());
    let recorded = anyclaude::trace::read(trace.as_ref())?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let transcripts = folder.join("transcripts");
    fs::create_dir_all(&transcripts)?;
    let began = Instant::now();
    let mut files = Vec::new();
    for session in 0..count.div_ceil(SESSION) {
        let path = transcripts.join(format!("session-{session:04}.jsonl"));
        let mut text = Vec::new();
        Session::new(session, &recorded.request.body).write(SESSION.min(count - session * SESSION), &mut text)?;
        fs::write(&path, text)?;
        files.push(path);
    }
    let (read, traces) = (bytes_in(&transcripts)?, folder.join("traces"));
    println!("{count} requests in {} transcripts, {:.0} MB, made in {:.1?}", files.len(), mb(read), began.elapsed());
    println!("load of the machine: {}", load());

    let mut failures = Vec::new();
    let mut import = command(folder, &["trace", "import", "--out"]);
    import.arg(&traces).args(&files);
    let import = measured("import", &mut import, &mut failures)?;
    let written = bytes_in(&traces)?;
    let (in_rate, out_rate) = (read as f64 / import.as_secs_f64(), written as f64 / import.as_secs_f64());
    println!("  {:.0} MB of traces: read {:.0} MB/s, written {:.0} MB/s", mb(written), in_rate / 1e6, out_rate / 1e6);
    if out_rate < LEAST_IMPORT {
        failures.push(format!("import: {:.0} MB/s", out_rate / 1e6));
    }
    for (name, arguments) in [("list", &["trace", "ls"][..]), ("stats", &["trace", "stats"]), ("grep", &["trace", "grep", WORD])]
    {
        let mut command = command(folder, arguments);
        let took = measured(name, command.arg(&traces), &mut failures)?;
        if took > MOST_TIME {
            failures.push(format!("{name}: {took:.2?}"));
        }
    }
    println!("load of the machine: {}", load());
    if failures.is_empty() { Ok(()) } else { Err(format!("not as promised: {}", failures.join("; ")).into()) }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anyclaude"));
    command.args(arguments).env("HOME", folder).current_dir(folder).stdout(Stdio::null());
    command
}

/// Runs a command; how long it took. Prints that, and the most memory that it had.
fn measured(name: &str, command: &mut Command, failures: &mut Vec<String>) -> Outcome<Duration> {
    let began = Instant::now();
    let mut child = command.spawn()?;
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    let exit = loop {
        // Of a process that has ended there is no such line any more.
        peak = peak.max(peak_memory_kb(&status).unwrap_or(0));
        match child.try_wait()? {
            Some(exit) => break exit,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let took = began.elapsed();
    println!("{name:6} {took:8.2?}  peak memory {} MB", peak / 1000);
    if !exit.success() {
        return Err(format!("{name} failed: {exit}").into());
    }
    if peak > MOST_MEMORY_KB {
        failures.push(format!("{name}: {} MB of memory", peak / 1000));
    }
    Ok(took)
}

fn peak_memory_kb(status: &Path) -> Option<u64> {
    let text = fs::read_to_string(status).ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn load() -> String {
    fs::read_to_string("/proc/loadavg").unwrap_or_else(|_| "unknown".into()).trim().to_owned()
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn bytes_in(folder: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { bytes_in(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// A conversation as Claude Code writes it down.
struct Session {
    name: String,
    chance: Chance,
    shape: Value,
    params: Map<String, Value>,
    messages: Vec<Value>,
}

impl Session {
    /// With the system prompt, tools and settings of a recorded request.
    fn new(nth: usize, body: &Value) -> Self {
        let fields = ["model", "max_tokens", "thinking", "context_management", "output_config"];
        let params = fields.iter().filter_map(|field| Some(((*field).to_owned(), body.get(field)?.clone())));
        let shape = uncached(&json!({"system": body["system"], "tools": body["tools"]}));
        let begins = uncached(&body["messages"][0]);
        let mut chance = Chance(nth as u64 + 1);
        let asked = json!({"role": "user", "content": [{"type": "text", "text": chance.text(400)}]});
        Self { name: format!("session-{nth:04}"), chance, shape, params: params.collect(), messages: vec![begins, asked] }
    }

    fn write(&mut self, requests: usize, out: &mut Vec<u8>) -> Outcome<()> {
        let shape_hash = digest(&self.shape);
        line(out, json!({"type": "api-request-shape", "sessionId": self.name, "shapeHash": shape_hash, "shape": self.shape}))?;
        let mut sent = 0;
        for nth in 0..requests {
            let id = format!("{}-{nth:04}", self.name);
            let tail: Vec<String> = self.messages[sent..].iter().map(digest).collect();
            if nth == 0 {
                for message in &self.messages {
                    line(
                        out,
                        json!({"type": "api-request-blob", "sessionId": self.name, "hash": digest(message), "message": message}),
                    )?;
                }
            }
            let at = self.messages.len() - 1;
            let mark = json!({"type": "ephemeral"});
            let mut body = self.params.clone();
            body.insert("messages".into(), self.messages.clone().into());
            body.extend(self.shape.as_object().cloned().unwrap_or_default());
            let mut body = Value::Object(body);
            body["messages"][at]["content"][0]["cache_control"] = mark.clone();
            line(
                out,
                json!({"type": "api-request", "id": id, "sessionId": self.name, "timestamp": time(nth), "version": "2.1.331",
                    "querySource": "main", "shapeHash": shape_hash, "params": self.params, "keep": sent, "tail": tail,
                    "base": (nth > 0).then(|| format!("{}-{:04}", self.name, nth - 1)), "requestDigest": digest(&body),
                    "cacheControl": [{"path": ["messages", at, "content", 0], "value": mark}]}),
            )?;
            sent = self.messages.len();
            self.turn(&id, nth, out)?;
        }
        Ok(())
    }

    /// The answer to a request, and what the tool says to that.
    fn turn(&mut self, id: &str, nth: usize, out: &mut Vec<u8>) -> Outcome<()> {
        let call = format!("toolu_{}_{nth}", self.name);
        let blocks = [
            json!({"type": "text", "text": self.chance.text(150)}),
            json!({"type": "tool_use", "id": call, "name": "Read", "input": {"file_path": format!("/work/{}.rs", self.chance.text(12))}}),
        ];
        for (index, block) in blocks.iter().enumerate() {
            let message = json!({"id": format!("msg_{id}"), "type": "message", "role": "assistant", "model": "m", "content": [block],
                "stop_reason": "tool_use", "usage": {"input_tokens": 9, "output_tokens": 90, "cache_read_input_tokens": 30_000}});
            line(
                out,
                json!({"type": "assistant", "sessionId": self.name, "message": message, "requestRef": id, "apiBlockIndex": index}),
            )?;
        }
        // Most files are short, and some are long.
        let length = if self.chance.below(8) == 0 { 10_000 } else { 300 + self.chance.below(2_500) };
        let mut said = self.chance.text(length);
        if self.chance.below(RARE) == 0 {
            said.push_str(WORD);
        }
        let result = json!([{"type": "tool_result", "tool_use_id": call, "content": said}]);
        line(out, json!({"type": "user", "sessionId": self.name, "message": {"role": "user", "content": result}}))?;
        self.messages.push(json!({"role": "assistant", "content": blocks}));
        self.messages.push(json!({"role": "user", "content": result}));
        Ok(())
    }
}

fn line(out: &mut Vec<u8>, value: Value) -> Outcome<()> {
    serde_json::to_writer(&mut *out, &value)?;
    Ok(out.write_all(b"\n")?)
}

fn time(second: usize) -> String {
    format!("2026-01-02T03:{:02}:{:02}.000Z", second / 60, second % 60)
}

/// A value without what it says about caching.
fn uncached(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(uncached).collect(),
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| *name != "cache_control");
            Value::Object(kept.map(|(name, value)| (name.clone(), uncached(value))).collect())
        }
        other => other.clone(),
    }
}

/// The digest by which a transcript names a value.
fn digest(value: &Value) -> String {
    let mut text = String::new();
    canonical(value, &mut text);
    Sha256::digest(text).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// With its keys sorted.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                text.push(if at == 0 { '[' } else { ',' });
                canonical(item, text);
            }
            text.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            for (at, (name, value)) in sorted.into_iter().enumerate() {
                text.push(if at == 0 { '{' } else { ',' });
                text.push_str(&json!(name).to_string());
                text.push(':');
                canonical(value, text);
            }
            text.push_str(if fields.is_empty() { "{}" } else { "}" });
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

/// Chance that is the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        // Knuth's constants for a linear congruential generator; its high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    /// Lines that look like code, of at least this many bytes in all.
    fn text(&mut self, length: usize) -> String {
        const WORDS: [&str; 16] = [
            "let",
            "match",
            "self.reader",
            "value",
            "Result<()>",
            "error",
            "\"path\"",
            "=>",
            "fn",
            "the",
            "index",
            "// why",
            "0x1f",
            "stream",
            "return",
            "é",
        ];
        let mut text = String::new();
        while text.len() < length {
            text.push_str(WORDS[self.below(WORDS.len())]);
            text.push(if self.below(9) == 0 { '\n' } else { ' ' });
        }
        text
    }
}
