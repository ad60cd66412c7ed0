//! `anyclaude check`: does it work here, with this model? Tool calling through the real client, and the prefix cache.

mod cache;
mod tools;
mod tools_task;

use std::process::ExitCode;

use super::CliError;

/// Check tool calling and the prefix cache of what a mode answers with
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude check tools --model fixtures/models/tiny
  anyclaude check cache --model fixtures/models/tiny traces/")]
pub struct Args {
    #[command(subcommand)]
    check: Check,
}

#[derive(clap::Subcommand, Debug)]
enum Check {
    Tools(tools::Args),
    Cache(cache::Args),
}

/// Runs the check. Exit code 1 where something did not pass.
pub async fn run(args: Args) -> Result<ExitCode, CliError> {
    let passed = match args.check {
        Check::Tools(args) => tools::run(args).await?,
        Check::Cache(args) => cache::run(args).await?,
    };
    Ok(ExitCode::from(u8::from(!passed)))
}
