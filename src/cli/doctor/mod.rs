//! `anyclaude doctor`: checks this machine for what anyclaude needs, and says how to get the rest.

#[cfg(any(target_os = "macos", test))]
mod apple;
#[cfg(feature = "mlx")]
mod bench;
#[cfg(feature = "mlx")]
mod mlx;
mod report;
mod requirement;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

#[cfg(feature = "mlx")]
use serde_json::json;
use tokio::process::Command;

use self::requirement::{Presence, Requirement};
use super::destination::print_beside;
use super::local_model::{self, ModelFolder, ModelFolderError, in_words};
use super::{CliError, Destination, blocking};
#[cfg(feature = "mlx")]
use crate::engine::text::{ChatTemplate, Tokenizer};
#[cfg(feature = "mlx")]
use crate::wire::MessagesRequest;

/// Check that this machine has what anyclaude needs, and say how to get what is missing
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct DoctorArgs {
    /// Model to check: a folder, or the name of a pulled model, or tiny, which is in this program
    #[arg(long, value_name = "DIR|NAME", default_value = local_model::EMBEDDED)]
    model: PathBuf,
    /// Write a page to attach to a bug report: the machine, what is found here, and a small bench beside mlx-lm, if python3 has
    /// it. With `-` it goes to standard output, and the lines for people to standard error
    #[arg(long, value_name = "FILE")]
    report: Option<Destination>,
}

const EXAMPLES: &str = "\
Examples:
  anyclaude doctor
  anyclaude doctor --model mlx-community/Qwen3-4B-4bit
  anyclaude doctor --report report.md      for a bug report

Exit code 3 if something that everything needs is missing.";

/// How long `claude --version` may take.
const CLIENT_PATIENCE: Duration = Duration::from_secs(20);

/// Prints the requirements. Exit code 3 if something is missing.
pub(super) async fn run(args: DoctorArgs) -> Result<ExitCode, CliError> {
    let version = Presence::Found(env!("CARGO_PKG_VERSION").into());
    let mut requirements = vec![Requirement { thing: "anyclaude", presence: version }];
    requirements.extend(blocking(|| Ok(engine())).await?);
    #[cfg(target_os = "macos")]
    requirements.extend(blocking(|| Ok(apple::requirements())).await?);
    let given = args.model.clone();
    requirements.extend(blocking(move || Ok(model(&given))).await?);
    requirements.push(Requirement { thing: "client", presence: client().await });
    let print = |text: &str| print_beside(&args.report, text);
    print(&requirements.iter().map(Requirement::line).collect::<String>())?;
    if let Some(file) = &args.report {
        let figures = blocking(move || Ok(figures(&args.model))).await?;
        let page = report::page(&requirements, &figures);
        tokio::task::block_in_place(|| file.write(&page))?;
        print(&format!("report written to {file}\n"))?;
    }
    Ok(ExitCode::from(if requirements.iter().any(Requirement::is_missing) { 3 } else { 0 }))
}

/// The small bench of a report.
#[cfg(feature = "mlx")]
fn figures(model: &Path) -> String {
    local_model::find(model).map_or_else(|error| format!("no model: {error}\n"), |folder| bench::lines(&folder))
}

#[cfg(not(feature = "mlx"))]
fn figures(_model: &Path) -> String {
    "built without MLX\n".into()
}

#[cfg(feature = "mlx")]
fn engine() -> Vec<Requirement> {
    mlx::requirements()
}

#[cfg(not(feature = "mlx"))]
fn engine() -> Vec<Requirement> {
    let reason = "built without it: record, and replay against servers, work; serve and replay in process do not".into();
    let remedy = "build with the default features".into();
    vec![Requirement { thing: "MLX", presence: Presence::Lacking { reason, remedy } }]
}

fn model(given: &Path) -> Vec<Requirement> {
    let missing = |reason: String| match cfg!(feature = "mlx") {
        true => Presence::Missing { reason, remedy: "name another with --model; tiny is in this program".into() },
        false => Presence::Lacking { reason, remedy: "name another with --model".into() },
    };
    let inspected = local_model::find(given).and_then(|folder| Ok((ModelFolder::inspect(&folder)?, folder)));
    let (presence, memory) = match inspected {
        Ok((model, folder)) => {
            let described = describe_model(given, &folder, &model).map_err(|error| error.to_string());
            let described = described.and_then(|found| check_text_side(&folder).map(|()| found));
            (described.map_or_else(missing, Presence::Found), memory(&folder, model.weight_bytes))
        }
        Err(error) => (missing(error.to_string()), None),
    };
    std::iter::once(Requirement { thing: "model", presence }).chain(memory).collect()
}

/// Nothing loads it in this build.
#[cfg(not(feature = "mlx"))]
fn check_text_side(_folder: &Path) -> Result<(), String> {
    Ok(())
}

/// Whether tokenizer and chat template can be loaded and make a prompt; else why not.
#[cfg(feature = "mlx")]
fn check_text_side(folder: &Path) -> Result<(), String> {
    let hello = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi."}]});
    let hello: MessagesRequest = serde_json::from_value(hello).map_err(|error| error.to_string())?;
    let loaded = Tokenizer::load(folder).and_then(|tokenizer| ChatTemplate::load(folder, &tokenizer));
    loaded.and_then(|template| template.render(&hello)).map(drop).map_err(|error| error.to_string())
}

/// Nothing loads it in this build.
#[cfg(not(feature = "mlx"))]
fn memory(_folder: &Path, _weight_bytes: u64) -> Option<Requirement> {
    None
}

/// What the model will take.
#[cfg(feature = "mlx")]
fn memory(folder: &Path, weight_bytes: u64) -> Option<Requirement> {
    let presence = match local_model::forecast(&folder.join("config.json"), weight_bytes) {
        Ok(sentence) => Presence::Found(sentence),
        Err(error) => {
            let remedy = "choose another model: README lists the families that run".into();
            Presence::Missing { reason: error.to_string(), remedy }
        }
    };
    Some(Requirement { thing: "memory", presence })
}

fn describe_model(given: &Path, folder: &Path, model: &ModelFolder) -> Result<String, ModelFolderError> {
    let ModelFolder { kind, weight_files, weight_bytes, parameters } = model;
    let vocabulary = local_model::vocabulary_size(folder)?;
    Ok(format!(
        "{}: {kind}, {} parameters, {} MB of weights in {weight_files} file(s), tokenizer of {vocabulary} entries",
        given.display(),
        in_words(*parameters),
        weight_bytes.div_ceil(1_000_000),
    ))
}

async fn client() -> Presence {
    let remedy = "install it: npm install -g @anthropic-ai/claude-code".to_owned();
    let asked = Command::new("claude").arg("--version").kill_on_drop(true).output();
    let lacking = |reason: String| Presence::Lacking { reason, remedy };
    match tokio::time::timeout(CLIENT_PATIENCE, asked).await {
        Ok(Ok(output)) if output.status.success() => Presence::Found(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Ok(Ok(output)) => lacking(format!("`claude --version` failed: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Ok(Err(_)) => lacking("no `claude` on PATH".into()),
        Err(_) => lacking(format!("`claude --version` said nothing in {} s", CLIENT_PATIENCE.as_secs())),
    }
}
