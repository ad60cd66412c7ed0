//! `anyclaude schema`: what the tools looked like that a client sent.

mod diff;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::{CliError, print};
use crate::trace;

/// Compare the tools that two traces sent
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude schema diff ~/.anyclaude/traces/claude ~/.anyclaude/traces/mlx")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Show which tools, descriptions and parameters differ between two traces (exit code 1 if any do)
    ///
    /// Of a folder, the trace with the most tools counts: side requests have none.
    Diff {
        /// Trace file, or the folder of a session
        #[arg(value_name = "A")]
        left: PathBuf,
        /// Trace file, or the folder of a session
        #[arg(value_name = "B")]
        right: PathBuf,
    },
}

/// Tools by their names, as the request's JSON has them.
type Tools = BTreeMap<String, Value>;

/// Runs the command.
pub async fn run(args: Args) -> Result<ExitCode, CliError> {
    let Action::Diff { left, right } = args.action;
    let read = tokio::task::spawn_blocking(move || Ok::<_, CliError>((tools(&left)?, tools(&right)?)));
    let (left, right) = read.await.map_err(CliError::backend)??;
    let differences = diff::differences(&left, &right);
    print(&diff::render(&differences, left.len(), right.len()))?;
    Ok(ExitCode::from(u8::from(!differences.is_empty())))
}

/// The tools of the trace that sent the most.
fn tools(path: &Path) -> Result<Tools, CliError> {
    let mut most = Tools::new();
    for file in trace::find(&[path.to_owned()])? {
        let trace = trace::read(&file)?;
        let tools = trace.request.body["tools"].as_array().cloned().unwrap_or_default();
        if tools.len() > most.len() {
            most = tools.into_iter().map(|tool| (tool["name"].as_str().unwrap_or_default().to_owned(), tool)).collect();
        }
    }
    if most.is_empty() {
        return Err(CliError::input(format!("{}: no request in it has tools; choose another trace", path.display())));
    }
    Ok(most)
}
