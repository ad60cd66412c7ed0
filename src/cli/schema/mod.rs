//! `anyclaude schema`: comparing the tools that clients sent.

mod diff;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::diff::Tools;
use super::{CliError, print};
use crate::trace;

/// Compare the tool definitions that the client sent in two traces
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  anyclaude schema diff ~/.anyclaude/traces/claude ~/.anyclaude/traces/mlx")]
pub(super) struct SchemaArgs {
    #[command(subcommand)]
    command: SchemaCommand,
}

#[derive(clap::Subcommand, Debug)]
enum SchemaCommand {
    /// Show which tools, descriptions and parameters differ between two traces (exit code 1 if any do)
    ///
    /// In a folder, the trace with the most tools counts: the client's side requests have none.
    #[command(after_help = "\
Examples:
  anyclaude schema diff ~/.anyclaude/traces/claude ~/.anyclaude/traces/mlx
  anyclaude schema diff traces/read-file/0001.json traces/run-command/0001.json")]
    Diff {
        /// Trace file, or the folder of a session
        #[arg(value_name = "A")]
        left: PathBuf,
        /// Trace file, or the folder of a session
        #[arg(value_name = "B")]
        right: PathBuf,
    },
}

/// Prints the differences. Exit code 1 if there are any.
pub(super) fn run(args: &SchemaArgs) -> Result<ExitCode, CliError> {
    let SchemaCommand::Diff { left, right } = &args.command;
    let (left, right) = (tools(left)?, tools(right)?);
    let differences = diff::differences(&left, &right);
    print(&diff::render(&differences, left.len(), right.len()))?;
    Ok(ExitCode::from(u8::from(!differences.is_empty())))
}

/// The tools of the trace that has the most of them.
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
