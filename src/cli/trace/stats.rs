//! `anyclaude trace stats`: how much of each prompt is the beginning of an earlier one, and which part ended that.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;
use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Style};

use super::folder::or_default;
use super::success_unless;
use crate::cli::text::grouped;
use crate::cli::{CliError, print};
use crate::replay::one_line;
use crate::trace::{find, read, read_messages_request};
use crate::wire::{Content, ContentBlock, MessagesRequest, Role, System, Tool, without_billing_header};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude trace stats traces/
  anyclaude trace stats --model tiny --json traces/")]
pub(super) struct TraceStatsArgs {
    /// Files and folders [default: traces/, or else the launcher's recordings]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Count in tokens of this model, with the prompt as its chat template renders it [default: in characters]
    #[cfg(feature = "mlx")]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How much of a reason is shown, in characters.
const REASON_LENGTH: usize = 200;

/// A request as a prefix cache sees it.
struct Prompt {
    name: String,
    parts: Vec<PromptPart>,
    /// Token ids, or the characters of the parts.
    units: Vec<u32>,
}

/// A tool, a system block or a content block of a request.
#[derive(Clone, Debug, PartialEq)]
struct PromptPart {
    /// What to call it in output, such as `message 1 (user), block 2`.
    label: String,
    text: String,
}

/// How much of a prompt is the beginning of an earlier one. Lengths are in tokens or characters.
#[derive(Debug, PartialEq, Serialize)]
struct PromptOverlap {
    request: String,
    /// Length of the prompt.
    prompt: usize,
    /// Length of the longest beginning that it shares with an earlier prompt.
    shared: usize,
    /// The request with that prompt, the latest of several; null if nothing is shared.
    with: Option<String>,
    /// The first part that differs; null if one prompt continues the other.
    broken_by: Option<String>,
}

/// A request that is not counted.
#[derive(Serialize)]
struct Uncounted {
    request: String,
    reason: String,
}

/// Gives a prompt's units from its request and its parts.
type Units = Box<dyn Fn(&MessagesRequest, &[PromptPart]) -> Result<Vec<u32>, CliError>>;

/// Compares each request with those before it and prints the overlaps.
pub(super) fn run(args: TraceStatsArgs) -> Result<ExitCode, CliError> {
    let (unit, units) = units(&args)?;
    let mut prompts: Vec<Prompt> = Vec::new();
    let mut overlaps = Vec::new();
    let mut uncounted = Vec::new();
    let mut errors = Vec::new();
    for file in find(&or_default(args.paths)?)? {
        let trace = match read(&file) {
            Ok(trace) => trace,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        // Requests to other routes have no answer that a prefix cache would speed up.
        if !trace.is_messages() {
            continue;
        }
        let name = format!("{}/{:04}", trace.session, trace.seq);
        let request = match read_messages_request(&trace.request.body) {
            Ok(request) => request,
            Err(fault) => {
                uncounted.push(Uncounted { request: name, reason: format!("request.body{fault}") });
                continue;
            }
        };
        let parts = parts(&request);
        let units = match units(&request, &parts) {
            Ok(units) => units,
            Err(error) => {
                uncounted.push(Uncounted { request: name, reason: error.to_string() });
                continue;
            }
        };
        let prompt = Prompt { name, units, parts };
        overlaps.push(compare(&prompt, &prompts));
        prompts.push(prompt);
    }
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

/// What prompts are counted in: its name, and how to get it.
#[cfg(feature = "mlx")]
fn units(args: &TraceStatsArgs) -> Result<(&'static str, Units), CliError> {
    use crate::engine::text::{ChatTemplate, Tokenizer};
    let Some(dir) = &args.model else { return Ok(characters()) };
    let tokenizer = Tokenizer::load(dir).map_err(CliError::input)?;
    let template = ChatTemplate::load(dir, &tokenizer).map_err(CliError::input)?;
    let tokens: Units =
        Box::new(move |request, _| template.render(request).and_then(|text| tokenizer.encode(&text)).map_err(CliError::input));
    Ok(("tokens", tokens))
}

#[cfg(not(feature = "mlx"))]
fn units(_: &TraceStatsArgs) -> Result<(&'static str, Units), CliError> {
    Ok(characters())
}

fn characters() -> (&'static str, Units) {
    let units =
        |_: &MessagesRequest, parts: &[PromptPart]| Ok(parts.iter().flat_map(|part| part.text.chars()).map(u32::from).collect());
    ("characters", Box::new(units))
}

/// The request's parts in the order of the prompt, without what does not get into it (`cache_control`, the billing header).
fn parts(request: &MessagesRequest) -> Vec<PromptPart> {
    let tool = |tool: &Tool| PromptPart {
        label: format!("tool {}", tool.name),
        text: json!([tool.name, tool.description, tool.input_schema]).to_string(),
    };
    let mut parts: Vec<PromptPart> = request.tools.iter().map(tool).collect();
    match &request.system {
        None => {}
        Some(System::Text(text)) => parts.extend(instruction("system".into(), text)),
        Some(System::Blocks(blocks)) => {
            let blocks = blocks.iter().map(text).enumerate();
            parts.extend(blocks.filter_map(|(at, text)| instruction(format!("system block {}", at + 1), &text)));
        }
    }
    for (at, message) in request.messages.iter().enumerate() {
        let (role, part): (_, fn(String, &str) -> Option<PromptPart>) = match message.role {
            Role::User => ("user", said),
            Role::Assistant => ("assistant", said),
            Role::System => ("system", instruction),
        };
        let label = format!("message {} ({role})", at + 1);
        match &message.content {
            Content::Text(text) => parts.extend(part(label, text)),
            Content::Blocks(blocks) => {
                let blocks = blocks.iter().map(text).enumerate();
                parts.extend(blocks.filter_map(|(at, text)| part(format!("{label}, block {}", at + 1), &text)));
            }
        }
    }
    parts
}

/// A part of the conversation.
fn said(label: String, text: &str) -> Option<PromptPart> {
    Some(PromptPart { label, text: text.to_owned() })
}

/// A part of the system prompt or of a system message, unless it holds nothing but the billing header.
fn instruction(label: String, text: &str) -> Option<PromptPart> {
    said(label, &without_billing_header(text)?)
}

/// A content block as the text that the model sees.
fn text(block: &ContentBlock) -> String {
    match block {
        ContentBlock::Text { text, .. } => text.clone(),
        ContentBlock::Thinking { thinking, .. } => thinking.clone(),
        ContentBlock::ToolUse { name, input, .. } => json!([name, input]).to_string(),
        ContentBlock::ToolResult { content: Some(Content::Text(text)), .. } => text.clone(),
        ContentBlock::ToolResult { content: Some(Content::Blocks(blocks)), .. } => blocks.iter().map(text).collect(),
        ContentBlock::ToolResult { content: None, .. } | ContentBlock::RedactedThinking { .. } => String::new(),
        ContentBlock::Image { source, .. } | ContentBlock::Document { source, .. } => source.to_string(),
        ContentBlock::ToolReference { tool_name, .. } => tool_name.clone(),
        ContentBlock::ToolAddition { tool, .. } | ContentBlock::ToolRemoval { tool, .. } => tool.to_string(),
        ContentBlock::Other(fields) => json!(fields).to_string(),
    }
}

fn compare(prompt: &Prompt, earlier: &[Prompt]) -> PromptOverlap {
    let shared = |other: &Prompt| prompt.units.iter().zip(&other.units).take_while(|(a, b)| a == b).count();
    let best = earlier.iter().map(|other| (shared(other), other)).max_by_key(|(shared, _)| *shared);
    let best = best.filter(|(shared, _)| *shared > 0);
    PromptOverlap {
        request: prompt.name.clone(),
        prompt: prompt.units.len(),
        shared: best.map_or(0, |(shared, _)| shared),
        with: best.map(|(_, other)| other.name.clone()),
        broken_by: best.and_then(|(_, other)| first_difference(&prompt.parts, &other.parts)),
    }
}

/// The label of the first part in which two requests differ; `None` if one only has more parts at its end.
fn first_difference(parts: &[PromptPart], other: &[PromptPart]) -> Option<String> {
    let (new, _) = parts.iter().zip(other).find(|(a, b)| a != b)?;
    Some(new.label.clone())
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

    use crate::wire::BILLING_HEADER;

    fn overlaps(requests: &[Value]) -> Vec<PromptOverlap> {
        let (_, units) = characters();
        let mut prompts = Vec::new();
        let mut overlaps = Vec::new();
        for (at, body) in requests.iter().enumerate() {
            let request: MessagesRequest = serde_json::from_value(body.clone()).unwrap();
            let parts = parts(&request);
            let prompt = Prompt { name: format!("s/{at}"), units: units(&request, &parts).unwrap(), parts };
            overlaps.push(compare(&prompt, &prompts));
            prompts.push(prompt);
        }
        overlaps
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
    #[test]
    fn the_billing_header_is_no_part_wherever_it_stands() {
        let header = format!("{BILLING_HEADER} cch=1;");
        let labels_and_texts = |system: Value| {
            let messages = json!([{"role": "system", "content": format!("A\n{header}")}, {"role": "user", "content": header}]);
            let request = json!({"model": "m", "max_tokens": 9, "system": system, "messages": messages});
            let parts = parts(&serde_json::from_value(request).unwrap());
            parts.into_iter().map(|part| format!("{}: {}", part.label, part.text.trim_end())).collect::<Vec<_>>()
        };
        let said = ["message 1 (system): A".to_owned(), format!("message 2 (user): {header}")];
        let with = |system: &str| [vec![system.to_owned()], said.to_vec()].concat();
        assert_eq!(labels_and_texts(json!(header)), said);
        assert_eq!(labels_and_texts(json!(format!("{header} B"))), with("system: B"));
        let blocks = json!([{"type": "text", "text": header}, {"type": "text", "text": "B"}]);
        assert_eq!(labels_and_texts(blocks), with("system block 2: B"));
    }
}
