//! `anyclaude trace stats`: how much of each request's prompt earlier requests began with, and which block ended that.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;
use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Style};

use super::text::number;
use crate::cli::{CliError, print};
use crate::trace::{find, read};
use crate::wire::{BILLING_HEADER, Content, ContentBlock, MessagesRequest, Role, System};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Files and folders
    #[arg(default_value = "traces", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Count in tokens of this model, as its chat template renders the prompt [default: in characters of the blocks]
    #[cfg(feature = "mlx")]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A request as the cache sees it.
struct Prompt {
    name: String,
    blocks: Vec<Block>,
    /// Token ids, or the characters of the blocks.
    units: Vec<u32>,
}

/// A part of a request, and what to call it.
#[derive(Clone, Debug, PartialEq)]
struct Block {
    place: String,
    text: String,
}

/// What a line tells.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    request: String,
    /// Tokens or characters in all.
    prompt: usize,
    /// How many of them the request that has the most in common with it begins with.
    shared: usize,
    /// That request; the latest of several. Null where nothing is shared.
    with: Option<String>,
    /// Where the two part; null where one continues the other.
    broken_by: Option<String>,
}

/// Makes a prompt's units.
type Units = Box<dyn Fn(&MessagesRequest, &[Block]) -> Result<Vec<u32>, CliError>>;

pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let (unit, units) = units(&args)?;
    let mut prompts: Vec<Prompt> = Vec::new();
    let mut rows = Vec::new();
    for file in find(&args.paths)? {
        let trace = read(&file)?;
        // Other paths' bodies are no Messages requests, or not ones that are answered.
        if trace.request.path.split('?').next() != Some("/v1/messages") {
            continue;
        }
        let request: MessagesRequest = serde_json::from_value(trace.request.body)
            .map_err(|error| CliError::input(format!("{}: not a Messages request: {error}", file.display())))?;
        let blocks = blocks(&request);
        let prompt = Prompt { name: format!("{}/{:04}", trace.session, trace.seq), units: units(&request, &blocks)?, blocks };
        rows.push(compare(&prompt, &prompts));
        prompts.push(prompt);
    }
    let text = if args.json {
        serde_json::to_string_pretty(&json!({ "unit": unit, "requests": rows })).map_err(CliError::backend)?
    } else {
        table(&rows, unit)
    };
    print(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "mlx")]
fn units(args: &Args) -> Result<(&'static str, Units), CliError> {
    use crate::engine::text::{ChatTemplate, Tokenizer};
    let Some(dir) = &args.model else { return Ok(characters()) };
    let tokenizer = Tokenizer::load(dir).map_err(CliError::input)?;
    let template = ChatTemplate::load(dir, &tokenizer).map_err(CliError::input)?;
    let tokens: Units =
        Box::new(move |request, _| template.render(request).and_then(|text| tokenizer.encode(&text)).map_err(CliError::input));
    Ok(("tokens", tokens))
}

#[cfg(not(feature = "mlx"))]
fn units(_: &Args) -> Result<(&'static str, Units), CliError> {
    Ok(characters())
}

fn characters() -> (&'static str, Units) {
    let units =
        |_: &MessagesRequest, blocks: &[Block]| Ok(blocks.iter().flat_map(|block| block.text.chars()).map(u32::from).collect());
    ("characters", Box::new(units))
}

/// The request's parts in the order of the prompt, without what is no part of it (`cache_control`, the billing header).
fn blocks(request: &MessagesRequest) -> Vec<Block> {
    let tool = |tool: &crate::wire::Tool| Block {
        place: format!("tool {}", tool.name),
        text: json!([tool.name, tool.description, tool.input_schema]).to_string(),
    };
    let mut blocks: Vec<Block> = request.tools.iter().map(tool).collect();
    match &request.system {
        None => {}
        Some(System::Text(text)) => blocks.push(Block { place: "system".into(), text: text.clone() }),
        Some(System::Blocks(parts)) => {
            let parts = parts.iter().map(text).enumerate().filter(|(_, text)| !text.starts_with(BILLING_HEADER));
            blocks.extend(parts.map(|(at, text)| Block { place: format!("system block {}", at + 1), text }));
        }
    }
    for (at, message) in request.messages.iter().enumerate() {
        let role = match message.role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => "system",
        };
        let place = format!("message {} ({role})", at + 1);
        match &message.content {
            Content::Text(text) => blocks.push(Block { place, text: text.clone() }),
            Content::Blocks(parts) => blocks.extend(
                parts
                    .iter()
                    .enumerate()
                    .map(|(at, part)| Block { place: format!("{place}, block {}", at + 1), text: text(part) }),
            ),
        }
    }
    blocks
}

/// What a block says to the model.
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
    }
}

fn compare(prompt: &Prompt, earlier: &[Prompt]) -> Row {
    let shared = |other: &Prompt| prompt.units.iter().zip(&other.units).take_while(|(a, b)| a == b).count();
    let best = earlier.iter().map(|other| (shared(other), other)).max_by_key(|(shared, _)| *shared);
    let best = best.filter(|(shared, _)| *shared > 0);
    Row {
        request: prompt.name.clone(),
        prompt: prompt.units.len(),
        shared: best.map_or(0, |(shared, _)| shared),
        with: best.map(|(_, other)| other.name.clone()),
        broken_by: best.and_then(|(_, other)| parting(&prompt.blocks, &other.blocks)),
    }
}

/// The first block in which two requests differ; none where one only has more blocks at its end.
fn parting(blocks: &[Block], other: &[Block]) -> Option<String> {
    let (new, _) = blocks.iter().zip(other).find(|(a, b)| a != b)?;
    Some(new.place.clone())
}

fn table(rows: &[Row], unit: &str) -> String {
    let percent = |row: &Row| 100 * row.shared / row.prompt.max(1);
    let mut builder = Builder::default();
    builder.push_record(["request", unit, "shared", "%", "with", "broken by"]);
    for row in rows {
        builder.push_record([
            row.request.clone(),
            number(row.prompt as u64),
            number(row.shared as u64),
            percent(row).to_string(),
            row.with.clone().unwrap_or_else(|| "-".into()),
            row.broken_by.clone().unwrap_or_else(|| "-".into()),
        ]);
    }
    let mut table = builder.build();
    table.with(Style::blank());
    for column in 1..=3 {
        table.modify(Columns::one(column), Alignment::right());
    }
    let (prompt, shared) = rows.iter().fold((0, 0), |sum, row| (sum.0 + row.prompt, sum.1 + row.shared));
    let mut lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    let share = 100 * shared / prompt.max(1);
    lines.push(format!("{} of {} {unit} shared with earlier requests ({share}%)", number(shared as u64), number(prompt as u64)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn rows(requests: &[Value]) -> Vec<Row> {
        let (_, units) = characters();
        let mut prompts = Vec::new();
        let mut rows = Vec::new();
        for (at, body) in requests.iter().enumerate() {
            let request: MessagesRequest = serde_json::from_value(body.clone()).unwrap();
            let blocks = blocks(&request);
            let prompt = Prompt { name: format!("s/{at}"), units: units(&request, &blocks).unwrap(), blocks };
            rows.push(compare(&prompt, &prompts));
            prompts.push(prompt);
        }
        rows
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
    fn the_block_that_ends_the_shared_prefix_is_named() {
        let first =
            json!([{"role": "user", "content": [{"type": "text", "text": "One", "cache_control": {"type": "ephemeral"}}]}]);
        let second = json!([
            {"role": "user", "content": [{"type": "text", "text": "One"}]},
            {"role": "assistant", "content": "Yes"},
            {"role": "user", "content": "Two"}]);
        let changed = json!([{"role": "user", "content": [{"type": "text", "text": "Only"}]}]);
        let rows = rows(&[
            request("cch=1", "Reads.", first),
            request("cch=2", "Reads.", second),
            request("cch=3", "Reads.", changed.clone()),
            request("cch=4", "Writes.", changed),
        ]);
        let told = |row: &Row| (row.prompt, row.shared, row.with.clone(), row.broken_by.clone());
        let some = |text: &str| Some(text.to_string());
        assert_eq!(
            rows.iter().map(told).collect::<Vec<_>>(),
            [
                (28, 0, None, None),
                (34, 28, some("s/0"), None),
                (29, 27, some("s/1"), some("message 1 (user), block 1")),
                (30, 9, some("s/2"), some("tool Read")),
            ]
        );
        let last = "64 of 121 characters shared with earlier requests (52%)";
        assert_eq!(table(&rows, "characters").lines().last(), Some(last));
    }
}
