//! `anyclaude model check`: what a model is, what its chat template can, and one forced call.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use console::style;
use futures::TryStreamExt;
use serde_json::{Value, json};

use crate::backend::mlx::{ConversationTraits, MlxBackend, ThinkingSwitch};
use crate::backend::{Backend, BackendError};
use crate::cli::local_model::{self, ModelFolder, forecast, in_words};
use crate::cli::text::duration;
use crate::cli::{CliError, blocking, print};
use crate::engine::EngineOptions;
use crate::wire::{Assembler, ContentBlock, MessagesRequest};

/// Load a model, name what its chat template can, and make one forced tool call
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude model check mlx-community/Qwen3-4B-4bit
  anyclaude model check fixtures/models/tiny

Exit code 1 if tool calling does not work. `anyclaude check tools` tries it with Claude Code itself.")]
pub(super) struct ModelCheckArgs {
    /// A pulled model's name, or a model folder in Hugging Face layout
    #[arg(value_name = "NAME|DIR")]
    model: PathBuf,
}

/// A line of the check.
struct Finding {
    thing: &'static str,
    text: String,
    works: bool,
}

impl Finding {
    fn new(thing: &'static str, text: impl Into<String>) -> Self {
        Self { thing, text: text.into(), works: true }
    }

    fn line(&self) -> String {
        let mark = if self.works { style("ok     ").green() } else { style("BROKEN ").red() };
        format!("{mark}  {:<14} {}\n", self.thing, self.text)
    }
}

/// Prints a line for each thing. Exit code 1 if something does not work.
pub(super) async fn run(args: ModelCheckArgs) -> Result<ExitCode, CliError> {
    let (folder, size) = blocking(move || {
        let folder = local_model::find(&args.model).map_err(CliError::input)?;
        let size = ModelFolder::inspect(&folder).map_err(CliError::input)?;
        Ok((folder, size))
    })
    .await?;
    let (config, weight_bytes) = (folder.join("config.json"), size.weight_bytes);
    let memory = blocking(move || forecast(&config, weight_bytes).map_err(CliError::input)).await?;
    let backend = local_model::load(folder, EngineOptions::default()).await?;
    let mut findings = vec![
        Finding::new("model", format!("{}: {}, {} parameters", backend.model(), size.kind, in_words(size.parameters))),
        Finding::new("memory", memory),
    ];
    match backend.conversation_traits() {
        Ok(traits) => findings.extend(of_template(&traits)),
        Err(error) => {
            let reason = format!("{error}: the chat template takes no conversation with tools");
            findings.push(Finding { works: false, ..Finding::new("template", reason) });
        }
    }
    findings.push(forced_call(&backend).await?);
    print(&findings.iter().map(Finding::line).collect::<String>())?;
    Ok(ExitCode::from(u8::from(findings.iter().any(|finding| !finding.works))))
}

fn of_template(traits: &ConversationTraits) -> [Finding; 5] {
    let ConversationTraits { tool_format, template, shows_past_calls, thinking, ends } = traits;
    let format =
        tool_format.map_or("not recognised in the template: hermes, unless --tool-format says another", |name| name.name());
    let calls =
        if *shows_past_calls { "in the prompt, with their results" } else { "not in the prompt: the model forgets what it did" };
    let thinking = match thinking {
        ThinkingSwitch::Asked => "where a request asks for it",
        ThinkingSwitch::Always => "always: the template opens every answer with thoughts",
        ThinkingSwitch::NotInTemplate => "the template has no switch for it",
    };
    [
        Finding::new("tool format", format),
        Finding { works: *shows_past_calls, ..Finding::new("earlier calls", calls) },
        Finding::new("conversations", template.as_str()),
        Finding::new("thinking", thinking),
        Finding::new("ends at", ends.join(" ")),
    ]
}

/// A request that must be answered by a call.
fn request() -> Result<MessagesRequest, CliError> {
    let request = json!({
        "model": "check", "max_tokens": 512, "temperature": 0,
        "tools": [{"name": "Read", "description": "Reads a file.", "input_schema": {
            "type": "object", "properties": {"file_path": {"type": "string", "description": "The file to read"}},
            "required": ["file_path"]}}],
        "tool_choice": {"type": "tool", "name": "Read"},
        "messages": [{"role": "user", "content": "Read the file hello.txt and tell me what it says."}],
    });
    serde_json::from_value(request).map_err(CliError::backend)
}

/// Makes the call. What cannot be generated is a finding, a device that fails an error.
async fn forced_call(backend: &MlxBackend) -> Result<Finding, CliError> {
    let started = Instant::now();
    let (text, works) = match answer(backend, request()?).await {
        Ok(Some(call)) => (format!("{call} in {}", duration(started.elapsed().as_micros() as u64)), true),
        Ok(None) => ("none came: the answer was cut, or is text".to_owned(), false),
        Err(error) => (error.to_string(), false),
    };
    Ok(Finding { works, ..Finding::new("forced call", text) })
}

/// The answer's call as JSON, if it has a whole one.
async fn answer(backend: &MlxBackend, request: MessagesRequest) -> Result<Option<Value>, BackendError> {
    let mut events = backend.messages(request).await?;
    let mut assembler = Assembler::default();
    while let Some(event) = events.try_next().await? {
        if assembler.push(&event).is_err() {
            return Ok(None);
        }
    }
    let Ok(message) = assembler.finish() else { return Ok(None) };
    Ok(message.content.into_iter().find_map(|block| match block {
        ContentBlock::ToolUse { name, input, .. } if input.is_object() => Some(json!({"name": name, "input": input})),
        _ => None,
    }))
}
