//! `anyclaude replay`.

use std::process::ExitCode;

use super::CliError;

/// (stub)
#[derive(clap::Args, Debug)]
pub struct Args {}

pub async fn run(_args: Args) -> Result<ExitCode, CliError> {
    Err(CliError::input("not built yet"))
}
