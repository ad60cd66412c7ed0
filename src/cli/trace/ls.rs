//! `anyclaude trace ls`: one line per trace.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Style};

use crate::cli::{CliError, print, text};
use crate::trace::{ExchangeOutcome, Outline, find, outlines, path_text, recorded_message};
use crate::wire::{ContentBlock, Endpoint};

/// What is listed of a trace.
#[derive(Serialize)]
pub(super) struct TraceLine {
    #[serde(serialize_with = "path_text::path")]
    file: PathBuf,
    session: String,
    seq: u32,
    recorded_at: String,
    path: String,
    model: Option<String>,
    /// Number of messages in the request.
    messages: usize,
    /// Tools called in the answer, in order.
    tools_called: Vec<String>,
    status: u16,
    outcome: ExchangeOutcome,
    ttft_us: Option<u64>,
    e2e_us: Option<u64>,
    /// Size of the file, in bytes.
    bytes: u64,
}

impl TraceLine {
    fn of(file: &Path, outline: &Outline<()>) -> Self {
        let trace = &outline.trace;
        let blocks = recorded_message(trace).map(|message| message.content).unwrap_or_default();
        let tools_called = blocks.into_iter().filter_map(|block| match block {
            ContentBlock::ToolUse { name, .. } => Some(name),
            _ => None,
        });
        let body = &trace.request.body;
        Self {
            file: file.to_owned(),
            session: trace.session.clone(),
            seq: trace.seq,
            recorded_at: trace.recorded_at.clone(),
            path: trace.request.path.clone(),
            model: body["model"].as_str().map(str::to_owned),
            messages: outline.items("messages").len(),
            tools_called: tools_called.collect(),
            status: trace.response.status,
            outcome: trace.outcome,
            ttft_us: trace.timing.ttft_us,
            e2e_us: trace.timing.e2e_us,
            bytes: std::fs::metadata(file).map_or(0, |meta| meta.len()),
        }
    }

    fn cells(&self) -> [String; 11] {
        // Up to the seconds.
        let time = self.recorded_at.get(..19).unwrap_or(&self.recorded_at).replace('T', " ");
        let tools = if self.tools_called.is_empty() { "-".into() } else { self.tools_called.join(" ") };
        // Requests to other routes call no tools: their path is shown instead.
        let is_messages = Endpoint::of_path(&self.path) == Endpoint::Messages;
        let tools = if is_messages { tools } else { format!("({})", self.path) };
        [
            self.session.clone(),
            self.seq.to_string(),
            time,
            self.model.clone().unwrap_or_else(|| "-".into()),
            self.messages.to_string(),
            tools,
            self.status.to_string(),
            self.outcome.name().into(),
            text::maybe_duration(self.ttft_us),
            text::maybe_duration(self.e2e_us),
            indicatif::HumanBytes(self.bytes).to_string(),
        ]
    }
}

const HEAD: [&str; 11] =
    ["session", "seq", "time", "model", "messages", "tools called", "status", "outcome", "ttft", "e2e", "size"];

/// The columns that hold numbers, aligned to the right.
const RIGHT: [usize; 5] = [1, 4, 8, 9, 10];

/// Prints the traces that can be read, in this format; the others are an error at the end.
pub(super) fn run(paths: &[PathBuf], format: impl Fn(&[TraceLine]) -> Result<String, CliError>) -> Result<ExitCode, CliError> {
    let mut lines = Vec::new();
    let mut errors = Vec::new();
    let read = outlines(&find(paths)?, |_, _, _| Ok(()), |file, outline| Ok(TraceLine::of(file, &outline?)));
    for line in read {
        match line {
            Ok(line) => lines.push(line),
            Err(error) => errors.push(error),
        }
    }
    print(&format(&lines)?)?;
    super::success_unless(errors)
}

/// As JSON.
pub(super) fn json(lines: &[TraceLine]) -> Result<String, CliError> {
    Ok(serde_json::to_string_pretty(lines).map_err(CliError::backend)? + "\n")
}

/// As a table with a header; empty if there are no traces.
pub(super) fn table(lines: &[TraceLine]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut builder = Builder::default();
    builder.push_record(HEAD);
    for line in lines {
        builder.push_record(line.cells());
    }
    let mut table = builder.build();
    table.with(Style::blank());
    for column in RIGHT {
        table.modify(Columns::one(column), Alignment::right());
    }
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
