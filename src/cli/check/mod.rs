//! `anyclaude check`: do tool calling (with the real client) and the prefix cache work here, with this model?

mod cache;
mod outcome;
mod tool_task;
mod tools;

use std::process::ExitCode;

use self::outcome::CheckOutcome;
use super::CliError;
use crate::trace::redact::Redactor;

/// Check tool calling and the prefix cache of whatever a mode answers with
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude check tools --model mlx-community/Qwen3-4B-4bit
  anyclaude check cache --model tiny traces/

Exit code 1 if something did not pass.")]
pub(super) struct CheckArgs {
    #[command(subcommand)]
    check: Check,
}

#[derive(clap::Subcommand, Debug)]
enum Check {
    Tools(tools::CheckToolsArgs),
    Cache(cache::CheckCacheArgs),
}

/// Runs the check. Exit code 1 if something did not pass.
pub(super) async fn run(args: CheckArgs, redactor: &Redactor) -> Result<ExitCode, CliError> {
    let outcome = match args.check {
        Check::Tools(args) => tools::run(args, redactor).await?,
        Check::Cache(args) => cache::run(args).await?,
    };
    Ok(match outcome {
        CheckOutcome::Passed => ExitCode::SUCCESS,
        CheckOutcome::Failed => ExitCode::from(1),
    })
}
