//! `anyclaude compare`: two finished replays beside each other.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::destination::print_beside;
use super::{CliError, Destination};
use crate::report::compare::{Compared, FinishedRun, Flips, to_terminal};

/// Compare two finished replays: which traces the second one lost or won, then the times and cache hits
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude replay --json old.json; anyclaude replay --model qwen3 --json new.json
  anyclaude compare old.json new.json
  anyclaude compare old.json new.json --json - | jq -r '.lost[].id'

A trace is lost if it was as accepted and is not any more, or was answered and now fails, or is not replayed.

Exit codes:
  0    no trace is lost
  1    B lost a trace that A had
  2    wrong usage, or a file that is not the figures of a replay
  3    no trace is lost, and A or B did not finish: it was stopped, or replayed nothing")]
pub(super) struct CompareArgs {
    /// The replay before: what `anyclaude replay --json A` wrote
    #[arg(value_name = "A")]
    before: PathBuf,

    /// The replay to compare with it
    #[arg(value_name = "B")]
    now: PathBuf,

    /// Write what differs and all figures to this file, or with `-` to standard output; the lines for people are then on standard
    /// error
    #[arg(long, value_name = "FILE")]
    json: Option<Destination>,
}

/// Prints what differs.
pub(super) fn run(args: &CompareArgs) -> Result<ExitCode, CliError> {
    if let Some(json) = &args.json {
        json.check_against([args.before.as_path(), &args.now])?;
    }
    let (before, now) = (read(&args.before)?, read(&args.now)?);
    let flips = Flips::between(&before, &now);
    let (text, compared) = (to_terminal(&before, &now, &flips), Compared::of(&before, &now, &flips));
    print_beside(&args.json, &text)?;
    if let Some(json) = &args.json {
        json.write(&compared.to_json())?;
    }
    Ok(ExitCode::from(flips.exit_code()))
}

fn read(path: &Path) -> Result<FinishedRun, CliError> {
    let unusable = |reason: &dyn std::fmt::Display| CliError::input(format!("{}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| unusable(&error))?;
    FinishedRun::parse(&text).map_err(|error| unusable(&error))
}
