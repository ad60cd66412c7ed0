//! `anyclaude trace stats`: how much of each prompt is the beginning of an earlier one, and which part ended that; or how often
//! each tool was called, and how often that failed.

mod beginnings;
mod head;
mod overlap;
mod read;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Style};

use self::overlap::{Overlaps, PromptOverlap};
use self::read::{Counted, Uncounted, counted};
use super::folder::or_default;
use super::success_unless;
use crate::cli::text::grouped;
use crate::cli::{CliError, print};
use crate::replay::one_line;
use crate::trace::{PromptItem, TraceError, find, outlines_with_head};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude trace stats traces/
  anyclaude trace stats --model tiny --json traces/
  anyclaude trace stats --tools traces/")]
pub(super) struct TraceStatsArgs {
    /// Files and folders [default: traces/, or else the launcher's recordings]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Count in tokens of this model, with the prompt as its chat template renders it [default: in characters]
    #[cfg(feature = "mlx")]
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<PathBuf>,
    /// Show instead how often each model called each tool, and how often that failed: the next request's results say so
    #[cfg_attr(feature = "mlx", arg(long, conflicts_with = "model"))]
    #[cfg_attr(not(feature = "mlx"), arg(long))]
    tools: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How much of a reason is shown, in characters.
const REASON_LENGTH: usize = 200;

/// What is known of the prompts of some files.
#[derive(Default)]
struct Stats {
    /// What lengths are counted in.
    unit: &'static str,
    overlaps: Vec<PromptOverlap>,
    uncounted: Vec<Uncounted>,
    errors: Vec<TraceError>,
}

/// Compares each request with those before it and prints the overlaps.
pub(super) fn run(args: TraceStatsArgs) -> Result<ExitCode, CliError> {
    let files = find(&or_default(args.paths)?)?;
    if args.tools {
        return tools_of(&files, args.json);
    }
    #[cfg(feature = "mlx")]
    let stats = match &args.model {
        Some(model) => in_tokens(&files, model)?,
        None => in_characters(&files),
    };
    #[cfg(not(feature = "mlx"))]
    let stats = in_characters(&files);
    let Stats { unit, overlaps, uncounted, errors } = stats;
    let text = if args.json {
        serde_json::to_string_pretty(&json!({ "unit": unit, "requests": overlaps, "uncounted": uncounted }))
            .map_err(CliError::backend)?
    } else {
        let lines = uncounted
            .iter()
            .map(|Uncounted { request, reason }| format!("\n{request} is not counted: {}", one_line(reason, REASON_LENGTH)));
        table(&overlaps, unit) + &lines.collect::<String>()
    };
    print(&format!("{text}\n"))?;
    success_unless(errors)
}

/// Counts the calls of tools and prints them.
fn tools_of(files: &[PathBuf], as_json: bool) -> Result<ExitCode, CliError> {
    let stats = tools::in_files(files);
    let text = match as_json {
        true => serde_json::to_string_pretty(&json!({ "tools": stats.all })).map_err(CliError::backend)?,
        false => tools::table(&stats.all),
    };
    print(&format!("{text}\n"))?;
    success_unless(stats.errors)
}

fn in_characters(files: &[PathBuf]) -> Stats {
    let mut overlaps = Overlaps::<u8>::new();
    let mut stats = Stats { unit: "characters", ..Stats::default() };
    for found in outlines_with_head(files, PromptItem::read, counted) {
        match found {
            Ok(Counted::Prompt(prompt)) => overlaps.add(prompt),
            Ok(Counted::Not(uncounted)) => stats.uncounted.push(uncounted),
            Ok(Counted::Other) => {}
            Err(error) => stats.errors.push(error),
        }
    }
    stats.overlaps = overlaps.all;
    stats
}

/// Prompts as a model's chat template renders them, in its tokens.
#[cfg(feature = "mlx")]
fn in_tokens(files: &[PathBuf], model: &std::path::Path) -> Result<Stats, CliError> {
    let (tokenizer, template) = crate::cli::local_model::text_side(model)?;
    let mut overlaps = Overlaps::<u32>::new();
    let mut stats = Stats { unit: "tokens", ..Stats::default() };
    for file in files {
        let trace = match crate::trace::read(file) {
            Ok(trace) if !crate::trace::asks_for_message(&trace) => continue,
            Ok(trace) => trace,
            Err(error) => {
                stats.errors.push(error);
                continue;
            }
        };
        let counted = read::request_of(&trace).and_then(|(name, request)| {
            let tokens = template.render(&request).and_then(|text| tokenizer.encode(&text));
            let tokens = tokens.map_err(|error| Uncounted { request: name.clone(), reason: error.to_string() })?;
            Ok((crate::trace::Prompt { name, items: vec![PromptItem::of_request(&request).into()] }, tokens))
        });
        match counted {
            Ok((prompt, tokens)) => overlaps.add_tokens(prompt, &tokens),
            Err(uncounted) => stats.uncounted.push(uncounted),
        }
    }
    stats.overlaps = overlaps.all;
    Ok(stats)
}

fn table(overlaps: &[PromptOverlap], unit: &str) -> String {
    let percent = |overlap: &PromptOverlap| 100 * overlap.shared / overlap.prompt.max(1);
    let mut builder = Builder::default();
    builder.push_record(["request", unit, "shared", "%", "with", "broken by"]);
    for overlap in overlaps {
        builder.push_record([
            overlap.request.clone(),
            grouped(overlap.prompt as u64),
            grouped(overlap.shared as u64),
            percent(overlap).to_string(),
            overlap.with.clone().unwrap_or_else(|| "-".into()),
            overlap.broken_by.clone().unwrap_or_else(|| "-".into()),
        ]);
    }
    let mut table = builder.build();
    table.with(Style::blank());
    for column in 1..=3 {
        table.modify(Columns::one(column), Alignment::right());
    }
    let (prompt, shared) = overlaps.iter().fold((0, 0), |sum, overlap| (sum.0 + overlap.prompt, sum.1 + overlap.shared));
    let mut lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    let share = 100 * shared / prompt.max(1);
    lines.push(format!(
        "{} of {} {unit} shared with earlier requests ({share}%)",
        grouped(shared as u64),
        grouped(prompt as u64)
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    use crate::trace::Prompt;
    use crate::wire::{BILLING_HEADER, MessagesRequest};

    fn overlaps(requests: &[Value]) -> Vec<PromptOverlap> {
        let mut overlaps = Overlaps::<u8>::new();
        for (at, body) in requests.iter().enumerate() {
            let request: MessagesRequest = serde_json::from_value(body.clone()).unwrap();
            overlaps.add(Prompt { name: format!("s/{at}"), items: vec![PromptItem::of_request(&request).into()] });
        }
        overlaps.all
    }

    fn request(header: &str, tool: &str, messages: Value) -> Value {
        json!({
            "model": "m", "max_tokens": 9,
            "tools": [{"name": "Read", "description": tool, "input_schema": {}}],
            "system": [{"type": "text", "text": format!("{BILLING_HEADER} {header}")}, {"type": "text", "text": "Help."}],
            "messages": messages,
        })
    }

    #[test]
    fn the_part_that_ends_the_shared_prefix_is_named() {
        let first =
            json!([{"role": "user", "content": [{"type": "text", "text": "One", "cache_control": {"type": "ephemeral"}}]}]);
        let second = json!([
            {"role": "user", "content": [{"type": "text", "text": "One"}]},
            {"role": "assistant", "content": "Yes"},
            {"role": "user", "content": "Two"}]);
        let changed = json!([{"role": "user", "content": [{"type": "text", "text": "Only"}]}]);
        let overlaps = overlaps(&[
            request("cch=1", "Reads.", first),
            request("cch=2", "Reads.", second),
            request("cch=3", "Reads.", changed.clone()),
            request("cch=4", "Writes.", changed),
        ]);
        let told = |overlap: &PromptOverlap| (overlap.prompt, overlap.shared, overlap.with.clone(), overlap.broken_by.clone());
        let some = |text: &str| Some(text.to_string());
        assert_eq!(
            overlaps.iter().map(told).collect::<Vec<_>>(),
            [
                (28, 0, None, None),
                (34, 28, some("s/0"), None),
                (29, 27, some("s/1"), some("message 1 (user), block 1")),
                (30, 9, some("s/2"), some("tool Read")),
            ]
        );
        let last = "64 of 121 characters shared with earlier requests (52%)";
        assert_eq!(table(&overlaps, "characters").lines().last(), Some(last));
    }
}
