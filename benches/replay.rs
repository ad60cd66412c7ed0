//! What a replay of a thousand traces takes besides the backend's time. `make bench-replay` runs it.
//!
//! `cargo bench --bench replay -- TRACES COUNT`: copies of the recorded traces are replayed in every phase against a backend in
//! this process that answers at once. First its answers are accepted; then it gives others, so that each trace has changed, and
//! those times are printed. Fails above two seconds, or 200 MB of resident memory.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use anyclaude::backend::{Backend, BackendError, EventStream};
use anyclaude::replay::{CaseResult, Driver, Policy, ReplayCase, ReplaySettings, Replayer, Untested, steps};
use anyclaude::report::{Baseline, Budgets, Limits, ReplayTarget, Report, States, html, job_summary, junit, terminal};
use anyclaude::snapshot::{Info, Store};
use anyclaude::wire::{ErrorKind, MessagesRequest, StreamEvent};
use futures::future::BoxFuture;
use futures::{FutureExt, stream};
use serde_json::{Value, json};
use support::{Outcome, arguments, cases};

/// Traces in each folder of the copies.
const SESSION: usize = 20;

const MOST_TIME: Duration = Duration::from_secs(2);
const MOST_MEMORY_KB: u64 = 200_000;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments = arguments();
    let [traces, count] = &arguments[..] else { return Err("usage: cargo bench --bench replay -- TRACES COUNT".into()) };
    let folder = tempfile::tempdir()?;
    copy(traces.as_ref(), folder.path(), count.to_string_lossy().parse()?)?;

    let began = Instant::now();
    let cases = cases(&folder.path().join("traces"))?;
    let planned = began.elapsed();
    let (target, settings) = (target(), ReplaySettings::default());
    let accepted = replay(&cases, &settings, "accepted.txt", Policy::Update, folder.path()).await?;
    let baseline = Baseline::parse(&Report::new(&target, &settings, &accepted, Untested::default()).to_json())?;
    let began = Instant::now();
    let changed = replay(&cases, &settings, "other.txt", Policy::Check, folder.path()).await?;
    let compared = began.elapsed();
    let began = Instant::now();
    let mut report = Report::new(&target, &settings, &changed, Untested::default());
    report.compare(Some((&baseline, Limits { max_slower: Some(1.2), max_drop: None })), &Budgets::default());
    let page = html::to_html(&report, time::OffsetDateTime::UNIX_EPOCH).len();
    let files = report.to_json().len() + junit::to_junit(&report)?.len() + terminal::details(&report, 20).len();
    let summary = job_summary::to_markdown(&report, job_summary::LARGEST).len();
    let reported = began.elapsed();

    let memory = peak_memory_kb().unwrap_or(0);
    println!(
        "{} traces: planned in {planned:.2?}, replayed and compared in {compared:.2?}, reported in {reported:.2?}",
        cases.len()
    );
    println!(
        "page {} kB, summary {} kB, other files {} kB, peak memory {} MB",
        page / 1000,
        summary / 1000,
        files / 1000,
        memory / 1000
    );
    if planned + compared + reported > MOST_TIME || memory > MOST_MEMORY_KB {
        return Err("above two seconds or 200 MB".into());
    }
    Ok(())
}

/// Fills folders with copies of the recorded traces.
fn copy(traces: &Path, to: &Path, count: usize) -> Outcome<()> {
    let recorded = anyclaude::trace::find(&[traces.to_path_buf()])?;
    for nth in 0..count {
        let folder = to.join(format!("traces/session-{:03}", nth / SESSION));
        std::fs::create_dir_all(&folder)?;
        let from = &recorded[nth % recorded.len()];
        let name = from.file_name().unwrap_or_default().to_string_lossy();
        let (_, ending) = name.split_once('.').unwrap_or(("", "json"));
        std::fs::copy(from, folder.join(format!("{:04}.{ending}", nth % SESSION + 1)))?;
    }
    Ok(())
}

async fn replay(
    cases: &[ReplayCase],
    settings: &ReplaySettings,
    file: &'static str,
    policy: Policy,
    folder: &Path,
) -> Outcome<Vec<CaseResult>> {
    let backend = Prompt { file };
    let replayer = Replayer {
        driver: Driver::new(&backend, 0),
        store: Store::new(folder.join("snapshots")),
        policy,
        settings,
        info: Info::default(),
        known_answers: None,
        expression: String::new(),
    };
    let steps = steps(&settings.phases, settings.repeat);
    let mut results = Vec::new();
    for case in cases {
        let (result, _) = replayer.replay(case, &steps, &|_| (), std::future::pending()).await?;
        results.push(result);
    }
    Ok(results)
}

fn target() -> ReplayTarget {
    let text = || "bench".to_owned();
    ReplayTarget { backend: text(), model: text(), digest: None, tool_format: text(), host: text(), states: States::Salt }
}

/// A backend that reads this file, without a pause.
struct Prompt {
    file: &'static str,
}

impl Backend for Prompt {
    fn name(&self) -> String {
        "prompt".into()
    }

    fn model(&self) -> String {
        self.name()
    }

    fn messages(&self, _: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        let usage = json!({"input_tokens": 20_000, "output_tokens": 0});
        let message = json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage});
        let call = json!({"type": "tool_use", "id": "t", "name": "Read", "input": {}});
        let input = json!({"file_path": self.file}).to_string();
        let mut events = vec![
            json!({"type": "message_start", "message": message}),
            json!({"type": "content_block_start", "index": 0, "content_block": call}),
        ];
        // As many events as a call of thirty tokens has.
        events.extend(input.chars().map(
            |c| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": c}}),
        ));
        events.extend([
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 30}}),
            json!({"type": "message_stop"}),
        ]);
        let event = |value: Value| {
            serde_json::from_value::<StreamEvent>(value).map_err(|error| BackendError::new(ErrorKind::Api, error.to_string()))
        };
        async move { Ok(EventStream::new(stream::iter(events.into_iter().map(event)))) }.boxed()
    }

    fn count_tokens(&self, _: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        async { Ok(20_000) }.boxed()
    }
}

/// The most memory that this process has had; `None` where the system does not say so.
fn peak_memory_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
