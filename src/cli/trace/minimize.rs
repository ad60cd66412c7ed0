//! `anyclaude trace minimize`: the smallest request that still shows what a command looks for.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use console::Term;
use serde_json::Value;

use crate::cli::{CliError, print};
use crate::trace::minimize::{Minimized, Progress, minimize};
use crate::trace::{self, Trace};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  # Still another call than the accepted one?
  anyclaude trace minimize traces/demo/0003.json --out small.json \\
    --check 'anyclaude replay \"$TRACE\" --check --phases cold --model my-model; [ $? = 1 ]'

  # Right on one model, still wrong on the other? So the request cannot become one that no model would understand.
  anyclaude trace minimize traces/demo/0003.json --out small.json --check '
    anyclaude replay \"$TRACE\" --check --phases cold --backend http://127.0.0.1:8081 &&
    { anyclaude replay \"$TRACE\" --check --phases cold --backend openai:http://127.0.0.1:8080; [ $? = 1 ]; }'")]
pub(super) struct TraceMinimizeArgs {
    /// The trace
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
    /// The command that succeeds if $TRACE, a file with a smaller request, still shows what is looked for; `sh` runs it
    #[arg(long, value_name = "COMMAND")]
    check: String,
    /// Where to write the smallest trace; it is written anew whenever a smaller one is found
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How often to run the command at most
    #[arg(long, value_name = "N", default_value_t = 500)]
    budget: usize,
}

/// Where candidates are written, and how they are checked.
struct Check<'a> {
    original: &'a Trace,
    command: &'a str,
    /// A file as the original is named, in a folder of its session's name: so that snapshots and reports know it.
    candidate: PathBuf,
}

impl Check<'_> {
    fn trace(&self, body: &Value) -> Trace {
        let mut trace = self.original.clone();
        trace.request.body = body.clone();
        trace
    }

    /// Whether the command succeeds for a request; if not, what it says on standard error.
    fn shows(&self, body: &Value) -> Result<Result<(), String>, CliError> {
        trace::write(&self.candidate, &self.trace(body))?;
        let mut command = Command::new("sh");
        command.args(["-c", self.command]).env("TRACE", &self.candidate);
        let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output();
        let output = output.map_err(|error| CliError::backend(format!("cannot run sh: {error}")))?;
        match output.status.code() {
            Some(126 | 127) => Err(CliError::input(format!("--check: sh cannot run `{}`", self.command))),
            Some(0) => Ok(Ok(())),
            Some(_) => Ok(Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())),
            None => {
                Err(CliError::backend("the check was ended by a signal; --out has the smallest request found before, if any"))
            }
        }
    }
}

/// Runs the command. Reads and writes files, starts processes.
pub(super) fn run(args: TraceMinimizeArgs) -> Result<ExitCode, CliError> {
    let TraceMinimizeArgs { trace: file, check: command, out, budget } = args;
    if out == Path::new("-") {
        return Err(CliError::input("--out -: the trace is written anew whenever a smaller one is found; name a file"));
    }
    let original = trace::read(&file)?;
    if let Ok(existing) = std::fs::canonicalize(&out) {
        let is_the_trace = std::fs::canonicalize(&file).is_ok_and(|file| file == existing);
        if is_the_trace || !existing.is_file() {
            let what = if is_the_trace { "the trace itself" } else { "no file" };
            return Err(CliError::input(format!("--out {}: that is {what}; name another file", out.display())));
        }
    }
    let folder = tempfile::tempdir().map_err(|error| CliError::backend(format!("no temporary folder: {error}")))?;
    let name = file.file_name().unwrap_or("0001.json".as_ref());
    let candidate = folder.path().join(session_folder(&original)).join(name);
    let check = Check { original: &original, command: &command, candidate };
    if let Err(says) = check.shows(&original.request.body)? {
        let says = says.lines().last().map_or_else(String::new, |says| format!("; it says: {says}"));
        return Err(CliError::input(format!("{}: --check does not succeed for the trace as it is{says}", file.display())));
    }
    let terminal = Term::stderr();
    let found = minimize(original.request.body.clone(), budget.saturating_sub(1), |body, progress| {
        show(&terminal, progress);
        let shown = check.shows(body)?.is_ok();
        if shown {
            trace::write(&out, &check.trace(body))?;
        }
        Ok::<_, CliError>(shown)
    });
    if terminal.is_term() {
        let _ = terminal.clear_line();
    }
    let Minimized { body, tests, is_cut_short } = found?;
    trace::write(&out, &check.trace(&body))?;
    let [before, after] = [&original.request.body, &body].map(|body| body.to_string().len());
    let end = if is_cut_short { "; more may go with a larger --budget" } else { "" };
    print(&format!("{}: {before} bytes of request became {after} in {} checks{end}\n", out.display(), tests + 1))?;
    Ok(ExitCode::SUCCESS)
}

/// A session's name as a folder, if it is one.
fn session_folder(trace: &Trace) -> &Path {
    let name = if trace::is_session_name(&trace.session) { trace.session.as_str() } else { "session" };
    Path::new(name)
}

/// A line that the next one replaces; only where somebody watches.
fn show(terminal: &Term, Progress { stage, tests, bytes }: Progress) {
    if terminal.is_term() {
        let _ = terminal.clear_line();
        let _ = terminal.write_str(&format!("leaving out {stage}: {tests} checks, {bytes} bytes"));
    }
}
