//! `anyclaude trace`: importing and exporting, listing, searching, comparing, showing, checking, recovering, scrubbing and
//! shrinking trace files.

mod dedupe;
mod diff;
mod export;
mod folder;
mod grep;
mod import;
mod ls;
mod minimize;
mod scrub;
mod show;
mod stats;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::folder::or_default;
use super::text::count;
use super::{CliError, print};
use crate::trace::redact::Redactor;
use crate::trace::{self, Recovered, TraceError, validate};

/// Import, list, search, compare, show, check, recover and scrub trace files
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct TraceArgs {
    #[command(subcommand)]
    command: TraceCommand,
}

const EXAMPLES: &str = "\
Examples:
  anyclaude trace ls                            list the traces in traces/
  anyclaude trace show traces/demo/0001.json    read one exchange
  anyclaude trace stats                         see what a prefix cache could save
  anyclaude trace grep swordfish                find the exchanges that have a text
  anyclaude trace diff traces/demo/0001.json traces/demo/0002.json
  anyclaude trace dedupe                        find the exchanges that ask the same
  anyclaude trace import                        make traces of Claude Code's newest session here
  anyclaude trace recover                       finish the traces that a killed recorder left
  anyclaude trace scrub --out shared traces/    make copies that are fit to be shared
  anyclaude trace validate shared               check them
  anyclaude trace minimize traces/demo/0001.json --out small.json --check ./still-wrong.sh";

#[derive(clap::Subcommand, Debug)]
enum TraceCommand {
    /// List traces, one line each
    #[command(after_help = "\
Examples:
  anyclaude trace ls
  anyclaude trace ls --json traces/ | jq '.[] | select(.outcome != \"complete\") | .file'")]
    Ls {
        /// Files and folders [default: traces/, or else the launcher's recordings]
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show traces for people to read: an outline of the request, the last user turn, the answer
    #[command(after_help = "\
Examples:
  anyclaude trace show --last
  anyclaude trace show traces/read-file/0001.json")]
    Show {
        /// Files and folders [default: the newest trace in traces/, or else of the launcher's recordings]
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Show only the last user turn and the answer
        #[arg(long)]
        last: bool,
    },
    /// Show how much of each prompt is the beginning of an earlier one, and which part ended that
    Stats(stats::TraceStatsArgs),
    /// Check traces and list everything that is wrong with them (exit code 2 if anything is)
    #[command(after_help = "\
Example:
  anyclaude trace validate traces/")]
    Validate {
        /// Files and folders [default: traces/, or else the launcher's recordings]
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Make traces of other tools' recordings: Claude Code's transcripts, HTTP archives, mitmproxy, claude-trace, LiteLLM,
    /// OpenTelemetry
    ///
    /// Secrets are redacted as by `anyclaude record`. What a file does not hold is said, and never guessed.
    Import(import::TraceImportArgs),
    /// Write traces as a file of another tool: an HTTP archive, OpenTelemetry's spans, ATIF, OpenAI's, Mooncake's or Weka's JSONL
    ///
    /// What is written has what the traces have: secrets are redacted, people and prompts are not. `anyclaude trace scrub` first
    /// what you share.
    Export(export::TraceExportArgs),
    /// Find the exchanges that have a text, and where in them it stands
    Grep(grep::TraceGrepArgs),
    /// Show what differs between two exchanges: the requests by place, the answers by block and call
    Diff(diff::TraceDiffArgs),
    /// Find the traces that ask what another one asks, and remove them with --delete
    Dedupe(dedupe::TraceDedupeArgs),
    /// Turn the partial files that a killed recorder left into traces
    #[command(after_help = "\
Examples:
  anyclaude trace recover
  anyclaude trace recover ~/.anyclaude/traces")]
    Recover {
        /// Folder to search [default: traces/, or else the launcher's recordings]
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Write copies that are fit to be shared: prose becomes filler, people and machines become anonymous
    ///
    /// What is known to be structure stays: types, ids, model and tool names, schemas without their descriptions, timing. All
    /// other text becomes filler of the same length. Read the copies before you publish them: names of sessions, tools and
    /// parameters stay.
    Scrub(scrub::TraceScrubArgs),
    /// Shrink a trace to the smallest request that still shows a fault, for a bug report
    Minimize(minimize::TraceMinimizeArgs),
}

/// Runs the command. Reads and writes files.
pub(super) fn run(args: TraceArgs, redactor: &Redactor) -> Result<ExitCode, CliError> {
    match args.command {
        TraceCommand::Ls { paths, json: true } => ls::run(&or_default(paths)?, ls::json),
        TraceCommand::Ls { paths, json: false } => ls::run(&or_default(paths)?, |lines| Ok(ls::table(lines))),
        TraceCommand::Show { paths, last: true } => show::run(paths, show::last_turn),
        TraceCommand::Show { paths, last: false } => show::run(paths, show::exchange),
        TraceCommand::Stats(args) => stats::run(args),
        TraceCommand::Validate { paths } => validate_all(&or_default(paths)?, redactor),
        TraceCommand::Export(args) => export::run(args),
        TraceCommand::Grep(args) => grep::run(args),
        TraceCommand::Diff(args) => diff::run(args),
        TraceCommand::Dedupe(args) => dedupe::run(args),
        TraceCommand::Import(args) => import::run(args, redactor),
        TraceCommand::Recover { folder } => {
            let folders = or_default(folder.into_iter().collect())?;
            folders.first().map_or(Ok(ExitCode::SUCCESS), |folder| recover(folder))
        }
        TraceCommand::Scrub(args) => scrub::run(args, redactor),
        TraceCommand::Minimize(args) => minimize::run(args),
    }
}

fn validate_all(paths: &[PathBuf], redactor: &Redactor) -> Result<ExitCode, CliError> {
    let files = trace::find(paths)?;
    let findings = validate::check(&files, redactor);
    let mut out = String::new();
    for warning in &findings.warnings {
        out.push_str(&format!("{} {warning}\n", console::style("warning:").yellow().bold()));
    }
    for problem in &findings.problems {
        out.push_str(&format!("{} {problem}\n", console::style("problem:").red().bold()));
    }
    let (problems, warnings) = (findings.problems.len(), findings.warnings.len());
    out.push_str(&format!("{}: {}, {}\n", count(files.len(), "trace"), count(problems, "problem"), count(warnings, "warning")));
    print(&out)?;
    Ok(ExitCode::from(if findings.problems.is_empty() { 0 } else { 2 }))
}

fn recover(folder: &Path) -> Result<ExitCode, CliError> {
    let recovered = trace::recover(folder)?;
    if recovered.is_empty() {
        print(&format!("nothing to recover in {}\n", folder.display()))?;
    }
    let mut errors = Vec::new();
    for one in recovered {
        match one {
            Ok(Recovered::Trace { path, events }) => {
                print(&format!("{}: recovered, truncated after {}\n", path.display(), count(events, "event")))?;
            }
            Ok(Recovered::AlreadyWhole { path }) => print(&format!("{}: was whole already\n", path.display()))?,
            Ok(Recovered::Empty { partial }) => print(&format!("{}: held no whole line; removed\n", partial.display()))?,
            Ok(Recovered::InUse { partial }) => print(&format!("{}: still being recorded; left alone\n", partial.display()))?,
            Err(error) => errors.push(error),
        }
    }
    success_unless(errors)
}

/// Success, or all errors as one, a line each.
fn success_unless(errors: Vec<TraceError>) -> Result<ExitCode, CliError> {
    if errors.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let lines: Vec<String> = errors.into_iter().map(|error| CliError::from(error).to_string()).collect();
    Err(CliError::Input(lines.join("\n")))
}
