//! `anyclaude trace`: looking at trace files, checking, recovering and scrubbing them.

mod ls;
mod show;
mod stats;
pub(super) mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::text::count;
use super::{CliError, print};
use crate::trace::{self, Recovered, TraceError, path_of, scrub::scrub, validate};

/// List, show, check, recover and scrub trace files.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  anyclaude trace ls                            what is recorded in traces/
  anyclaude trace show traces/demo/0001.json    one exchange, readable
  anyclaude trace stats                         what a prefix cache could save
  anyclaude trace recover                       finish what a killed recorder left
  anyclaude trace scrub --out shared traces/    copies that are fit to be shared
  anyclaude trace validate shared";

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// List traces, one line each
    Ls {
        /// Files and folders
        #[arg(default_value = "traces")]
        paths: Vec<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show traces readably: the request in outline, the last user turn, the answer
    Show {
        /// Files and folders [default: the newest trace that the launcher recorded]
        #[arg(value_name = "FILE")]
        paths: Vec<PathBuf>,
        /// Only the last user turn and the answer
        #[arg(long)]
        last: bool,
    },
    /// Tell how much of each request's prompt earlier requests began with, and which block ended that
    Stats(stats::Args),
    /// Check traces and list everything that is wrong with them (exit code 2 if anything is)
    Validate {
        /// Files and folders
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Make traces of the partial files that a killed recorder left
    Recover {
        /// Folder to search
        #[arg(default_value = "traces", value_name = "DIR")]
        folder: PathBuf,
    },
    /// Write copies that are fit to be shared: prose becomes filler, people and machines become nobody
    ///
    /// Kept: structure, ids, tool names, schemas, timing, the arguments of tool calls and what the user wrote (both without
    /// home folders and mail addresses). Read the copies before you publish them.
    Scrub {
        /// Files and folders
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Folder for the copies, laid out as <DIR>/<session>/<number>.json
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

impl From<TraceError> for CliError {
    fn from(error: TraceError) -> Self {
        Self::input(error)
    }
}

/// Runs the command.
pub async fn run(args: Args) -> Result<ExitCode, CliError> {
    // Files only; nothing here waits for anything else.
    let done = tokio::task::spawn_blocking(move || act(args.action)).await;
    done.map_err(CliError::backend)?
}

fn act(action: Action) -> Result<ExitCode, CliError> {
    match action {
        Action::Ls { paths, json } => ls::run(&paths, json),
        Action::Show { paths, last } => show::run(&paths, last),
        Action::Stats(args) => stats::run(args),
        Action::Validate { paths } => check(&paths),
        Action::Recover { folder } => recover(&folder),
        Action::Scrub { paths, out } => scrub_all(&paths, &out),
    }
}

fn check(paths: &[PathBuf]) -> Result<ExitCode, CliError> {
    let files = trace::find(paths)?;
    let findings = validate::check(&files);
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
    all_or(errors)
}

/// Success, or all the errors in one, a line each.
fn all_or(errors: Vec<TraceError>) -> Result<ExitCode, CliError> {
    if errors.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(CliError::input(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

fn scrub_all(paths: &[PathBuf], out: &Path) -> Result<ExitCode, CliError> {
    for file in trace::find(paths)? {
        let scrubbed = scrub(trace::read(&file)?);
        let path = path_of(out, &scrubbed.session, scrubbed.seq);
        trace::write(&path, &scrubbed)?;
        print(&format!("{}\n", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
