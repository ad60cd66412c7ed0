//! `anyclaude trace ls`: one line per trace.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Style};

use super::text;
use crate::cli::{CliError, print};
use crate::trace::{ExchangeOutcome, Trace, find, read};
use crate::wire::ContentBlock;

/// What a line tells.
#[derive(Serialize)]
struct Row {
    file: PathBuf,
    session: String,
    seq: u32,
    recorded_at: String,
    path: String,
    model: Option<String>,
    /// Messages in the request.
    messages: usize,
    /// Tools called in the answer, in order.
    tools_called: Vec<String>,
    status: u16,
    outcome: ExchangeOutcome,
    ttft_us: Option<u64>,
    e2e_us: Option<u64>,
    /// Size of the file.
    bytes: u64,
}

impl Row {
    fn of(file: &Path, trace: &Trace) -> Self {
        let blocks = trace.message().map(|message| message.content).unwrap_or_default();
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
            messages: body["messages"].as_array().map_or(0, Vec::len),
            tools_called: tools_called.collect(),
            status: trace.response.status,
            outcome: trace.outcome,
            ttft_us: trace.timing.ttft_us,
            e2e_us: trace.timing.e2e_us,
            bytes: std::fs::metadata(file).map_or(0, |meta| meta.len()),
        }
    }

    fn cells(&self) -> [String; 11] {
        // Seconds are enough; the date shows in the session's name, but not every session is named by its date.
        let time = self.recorded_at.get(..19).unwrap_or(&self.recorded_at).replace('T', " ");
        let tools = if self.tools_called.is_empty() { "-".into() } else { self.tools_called.join(" ") };
        // What is no message says so by its path.
        let is_messages = self.path.split('?').next() == Some("/v1/messages");
        let tools = if is_messages { tools } else { format!("({})", self.path) };
        [
            self.session.clone(),
            self.seq.to_string(),
            time,
            self.model.clone().unwrap_or_else(|| "-".into()),
            self.messages.to_string(),
            tools,
            self.status.to_string(),
            text::outcome(self.outcome).into(),
            text::maybe_duration(self.ttft_us),
            text::maybe_duration(self.e2e_us),
            indicatif::HumanBytes(self.bytes).to_string(),
        ]
    }
}

const HEAD: [&str; 11] =
    ["session", "seq", "time", "model", "messages", "tools called", "status", "outcome", "ttft", "e2e", "size"];

/// Columns that hold numbers.
const RIGHT: [usize; 5] = [1, 4, 8, 9, 10];

pub fn run(paths: &[PathBuf], json: bool) -> Result<ExitCode, CliError> {
    let mut rows = Vec::new();
    let mut errors = Vec::new();
    for file in find(paths)? {
        match read(&file) {
            Ok(trace) => rows.push(Row::of(&file, &trace)),
            Err(error) => errors.push(error),
        }
    }
    if json {
        print(&format!("{}\n", serde_json::to_string_pretty(&rows).map_err(CliError::backend)?))?;
    } else if !rows.is_empty() {
        print(&format!("{}\n", table(&rows)))?;
    }
    super::all_or(errors)
}

fn table(rows: &[Row]) -> String {
    let mut builder = Builder::default();
    builder.push_record(HEAD);
    for row in rows {
        builder.push_record(row.cells());
    }
    let mut table = builder.build();
    table.with(Style::blank());
    for column in RIGHT {
        table.modify(Columns::one(column), Alignment::right());
    }
    let lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}
