//! How fast secrets are looked for. `make bench-redact` runs it.
//!
//! `cargo bench --bench redact -- FOLDER`: redacts the requests and answers of recorded traces, then texts that repeat what makes
//! each detector work hardest, whole and in small deltas. Prints MB/s of text, and how much slower the worst are than ordinary text
//! in the same run. Counted is the time that it computes, as far as the system tells it.

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyclaude::trace::redact::{Redactor, SecretPattern, StreamRedactor};
use anyclaude::trace::{self, RecordedEvent, Trace};
use serde_json::{Value, json};

#[expect(dead_code, reason = "of the rules, only their beginnings are of use here")]
#[path = "../src/trace/redact/patterns.rs"]
mod patterns;
#[path = "../src/trace/redact/tests/worst_cases.rs"]
mod worst_cases;

/// The length of each text, in bytes, and of a delta.
const LENGTH: usize = 1 << 20;
const DELTA: usize = 16;

/// Each thing is done again until this has passed.
const LEAST: Duration = Duration::from_millis(30);

/// How many of the slowest are shown.
const SHOWN: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).filter(|argument| argument != "--bench").map(PathBuf::from).collect();
    let traces: Vec<Trace> = trace::find(&folders)?.iter().map(|path| trace::read(path)).collect::<Result<_, _>>()?;
    if traces.is_empty() {
        return Err("usage: cargo bench --bench redact -- FOLDER".into());
    }
    println!("load of the machine: {}", load());
    let pattern = SecretPattern::try_from("ACME-[0-9]{6}".to_owned())?;
    for (name, redactor) in [
        ("everything that is known", Redactor::default()),
        ("and the client's credentials", Redactor::default().for_request([("x-api-key", "zq7-credential-zq8")], "/")),
        ("and a pattern of the user's", Redactor::new(&[pattern])),
    ] {
        ordinary(name, &redactor, &traces);
    }
    let redactor = Redactor::default();
    let usual = rate(&redactor, &ordinary_text(&traces));
    println!("one text of {:.0} MB of recorded text: {usual:.0} MB/s", LENGTH as f64 / 1e6);
    let beginnings = patterns::RULES.iter().map(|rule| rule.prefix).chain(worst_cases::OTHERS);
    let texts: Vec<(&str, String)> = beginnings.map(|case| (case, case.repeat(LENGTH / case.len()))).collect();
    slowest("whole", usual, texts.iter().map(|(case, text)| (*case, rate(&redactor, text))).collect());
    slowest("in deltas", usual, texts.iter().map(|(case, text)| (*case, rate_in_deltas(&redactor, text))).collect());
    println!("load of the machine: {}", load());
    Ok(())
}

/// What the traces' requests and the events of their answers take.
fn ordinary(name: &str, redactor: &Redactor, traces: &[Trace]) {
    let bodies: Vec<&Value> = traces.iter().map(|trace| &trace.request.body).collect();
    let bytes = bodies.iter().map(|body| body.to_string().len()).sum();
    let requests = mb_per_second(
        bytes,
        || bodies.iter().map(|body| (*body).clone()).collect(),
        |bodies: Vec<Value>| bodies.into_iter().map(|mut body| redactor.json(&mut body)).count(),
    );
    let events = || traces.iter().map(|trace| trace.response.events.clone()).collect::<Vec<_>>();
    let bytes = events().iter().flatten().map(|event| event.data.to_string().len()).sum();
    let answers =
        mb_per_second(bytes, events, |answers| answers.into_iter().map(|events| redacted(redactor, events)).sum::<usize>());
    println!("{name:28} requests {requests:4.0} MB/s, events of answers {answers:4.0} MB/s");
}

/// The texts of the traces one after the other, up to [`LENGTH`].
fn ordinary_text(traces: &[Trace]) -> String {
    let mut text = String::new();
    for trace in traces.iter().cycle() {
        add_texts(&trace.request.body, &mut text);
        if text.len() >= LENGTH {
            break;
        }
    }
    text
}

fn add_texts(value: &Value, all: &mut String) {
    match value {
        Value::String(text) => all.extend([text, "\n"]),
        Value::Array(values) => values.iter().for_each(|value| add_texts(value, all)),
        Value::Object(fields) => fields.values().for_each(|value| add_texts(value, all)),
        _ => {}
    }
}

fn rate(redactor: &Redactor, text: &str) -> f64 {
    mb_per_second(text.len(), || (), |()| redactor.text(text).len())
}

fn rate_in_deltas(redactor: &Redactor, text: &str) -> f64 {
    let pieces: Vec<&str> = text.as_bytes().chunks(DELTA).map(|piece| std::str::from_utf8(piece).unwrap_or_default()).collect();
    let events = || pieces.iter().map(|piece| delta(piece)).collect();
    mb_per_second(text.len(), events, |events| redacted(redactor, events))
}

fn delta(text: &str) -> RecordedEvent {
    let data = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    RecordedEvent { at_us: 1, event: "content_block_delta".into(), data }
}

/// How many events come out of a stream.
fn redacted(redactor: &Redactor, events: Vec<RecordedEvent>) -> usize {
    let mut stream = StreamRedactor::new(redactor.clone());
    let out: usize = events.into_iter().map(|event| stream.push(event).len()).sum();
    out + stream.finish().len()
}

/// MB/s of work on so many bytes, without what its preparation takes.
fn mb_per_second<T, R>(bytes: usize, prepare: impl Fn() -> T, work: impl Fn(T) -> R) -> f64 {
    let (mut took, mut done) = (Duration::ZERO, 0);
    while took < LEAST {
        let prepared = prepare();
        let began = clock();
        black_box(work(prepared));
        took += clock() - began;
        done += bytes;
    }
    done as f64 / took.as_secs_f64() / 1e6
}

/// The time that this thread has computed, where Linux tells it: others may use the machine too. Elsewhere the time that has passed.
fn clock() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let computed = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = computed.and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

fn slowest(how: &str, usual: f64, mut rates: Vec<(&str, f64)>) {
    rates.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    println!("the slowest of {} beginnings of secrets, again and again, {how}:", rates.len());
    for (case, rate) in rates.iter().take(SHOWN) {
        println!("  {case:36?} {rate:4.0} MB/s, {:.2} of recorded text", rate / usual);
    }
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_else(|_| "unknown".into()).trim().to_owned()
}
