//! `anyclaude report`: reports that were written before.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::destination::print_beside;
use super::{CliError, Destination, load};
use crate::report::{Measured, load as load_report};

/// Work with the reports that --json wrote
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  anyclaude report merge 1.json 2.json")]
pub(super) struct ReportArgs {
    #[command(subcommand)]
    command: ReportCommand,
}

#[derive(Subcommand, Debug)]
enum ReportCommand {
    Merge(MergeArgs),
}

/// Add the reports of several load generators: their histograms, not their percentiles
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  anyclaude report merge 1.json 2.json 3.json 4.json --json all.json

Exit codes:
  0, 4  as those of `anyclaude load` with the same figures
  2     wrong usage, or reports that do not belong together, or one shard twice
  3     nothing was answered, or reports of shards are missing: what there is is printed all the same")]
struct MergeArgs {
    /// Reports of `anyclaude load --shard NTH/OF --json FILE`
    #[arg(required = true)]
    reports: Vec<PathBuf>,

    /// Write the sum to this file, or with `-` to standard output; the lines for people are then on standard error
    #[arg(long, value_name = "FILE")]
    json: Option<Destination>,
}

/// Runs the command.
pub(super) fn run(args: ReportArgs) -> Result<ExitCode, CliError> {
    let ReportCommand::Merge(args) = args.command;
    if let Some(json) = &args.json {
        json.check_against(args.reports.iter().map(PathBuf::as_path))?;
    }
    let mut merged: Option<Measured> = None;
    for path in &args.reports {
        let report = read(path)?;
        let sum = merged.map_or(Ok(report.clone()), |merged| merged.merged(&report));
        merged = Some(sum.map_err(|error| CliError::input(format!("{}: {error}", path.display())))?);
    }
    // Clap asks for one at least.
    let Some(merged) = merged else { return Ok(ExitCode::SUCCESS) };
    print_beside(&args.json, &format!("{}{}", load_report::to_terminal(&merged), load_report::shards_line(&merged)))?;
    if let Some(json) = &args.json {
        json.write(&merged.to_json())?;
    }
    Ok(ExitCode::from(if merged.is_whole() { load::exit_code(&merged) } else { 3 }))
}

fn read(path: &Path) -> Result<Measured, CliError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        CliError::input(format!("{}: {error}; give what `anyclaude load --json` wrote", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    Measured::parse(&text).map_err(|error| unreadable(&error))
}
