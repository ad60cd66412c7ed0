//! `anyclaude trace diff`: what differs between two exchanges.

use std::path::PathBuf;
use std::process::ExitCode;

use console::style;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::{CliError, print};
use crate::replay::{Finding, JsonDifference, Kind, differences, json_differences, one_line};
use crate::snapshot::{Outcome, Side, diff};
use crate::trace::{Trace, read, recorded_message};
use crate::wire::{ContentBlock, Message};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude trace diff traces/demo/0001.json traces/demo/0002.json
  anyclaude trace diff --json old/0001.json new/0001.json | jq -r '.[].place'

Exit codes: 0 nothing differs, 1 something does.")]
pub(super) struct TraceDiffArgs {
    /// A trace
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another one
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The most characters of a value that are shown where it stands in one line.
const SHOWN: usize = 120;

/// A place at which two traces differ.
#[derive(Serialize)]
struct Difference {
    place: String,
    /// What it is called, if it is one of tool calling.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<Value>,
}

impl From<JsonDifference<'_>> for Difference {
    fn from(JsonDifference { place, old, new }: JsonDifference<'_>) -> Self {
        Self { place, kind: None, a: old.cloned(), b: new.cloned() }
    }
}

impl From<Finding> for Difference {
    fn from(Finding { kind, place, accepted, found, .. }: Finding) -> Self {
        let place = place.unwrap_or_else(|| "answer".to_owned());
        Self { place: format!("response.{place}"), kind: Some(kind), a: accepted, b: found }
    }
}

pub(super) fn run(args: TraceDiffArgs) -> Result<ExitCode, CliError> {
    let (a, b) = (read(&args.a)?, read(&args.b)?);
    let mut found = of_requests(&a, &b);
    found.extend(of_answers(&a, &b));
    match args.json {
        true => print(&(serde_json::to_string_pretty(&found).map_err(CliError::backend)? + "\n"))?,
        false => print(&found.iter().map(shown).collect::<String>())?,
    }
    Ok(ExitCode::from(if found.is_empty() { 0 } else { 1 }))
}

fn of_requests(a: &Trace, b: &Trace) -> Vec<Difference> {
    let head = |trace: &Trace| {
        let request = &trace.request;
        json!({"method": request.method, "path": request.path, "headers": request.headers})
    };
    let heads = [a, b].map(head);
    let heads = json_differences(&heads[0], &heads[1], "request").into_iter().map(Difference::from).collect::<Vec<_>>();
    let bodies = json_differences(&a.request.body, &b.request.body, "request.body");
    heads.into_iter().chain(bodies.into_iter().map(Difference::from)).collect()
}

/// Ids and token counts are no differences of answers.
fn of_answers(a: &Trace, b: &Trace) -> Vec<Difference> {
    let end = |trace: &Trace| json!({"status": trace.response.status, "outcome": trace.outcome});
    let ends = [a, b].map(end);
    let mut found: Vec<Difference> = json_differences(&ends[0], &ends[1], "response").into_iter().map(Difference::from).collect();
    match (recorded_message(a), recorded_message(b)) {
        (Some(a), Some(b)) => {
            let said = [&a, &b].map(|message| Value::Array(texts(message)));
            found.extend(json_differences(&said[0], &said[1], "response.text").into_iter().map(Difference::from));
            found.extend(differences(&Outcome::from(&a), &Outcome::from(&b), "").into_iter().map(Difference::from));
        }
        _ => {
            let bodies = json_differences(&a.response.body, &b.response.body, "response.body");
            found.extend(bodies.into_iter().map(Difference::from));
        }
    }
    found
}

/// What an answer says and thinks, a text for each block.
fn texts(message: &Message) -> Vec<Value> {
    let text = |block: &ContentBlock| match block {
        ContentBlock::Text { text, .. } => Some(text.as_str().into()),
        ContentBlock::Thinking { thinking, .. } => Some(thinking.as_str().into()),
        _ => None,
    };
    message.content.iter().filter_map(text).collect()
}

fn shown(Difference { place, kind, a, b }: &Difference) -> String {
    let place = style(place).cyan();
    let kind = kind.map_or(String::new(), |kind| format!(" {kind}:"));
    match (a, b) {
        (Some(Value::String(a)), Some(Value::String(b))) if a.contains('\n') || b.contains('\n') => {
            let lines = diff(Side { label: "A", text: a }, Side { label: "B", text: b });
            format!("{place}:{kind}\n{lines}")
        }
        (Some(a), Some(b)) => format!("{place}:{kind} {} → {}\n", short(a), short(b)),
        (Some(a), None) => format!("{place}:{kind} only in A: {}\n", short(a)),
        (None, Some(b)) => format!("{place}:{kind} only in B: {}\n", short(b)),
        (None, None) => format!("{place}:{kind}\n"),
    }
}

fn short(value: &Value) -> String {
    one_line(&value.to_string(), SHOWN)
}
