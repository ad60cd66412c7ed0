//! `anyclaude review`.

use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use console::{Key, Term, style};

use super::{CliError, in_ci, print};
use crate::replay::last_user_turn;
use crate::snapshot::{Outcome, Side, Snapshot, SnapshotError, Store, accept, diff, reject};
use crate::trace::{self, Trace};

/// Longest user turn shown, in characters.
const TURN_LENGTH: usize = 600;

/// Accept or reject the pending snapshots, one by one
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder of the snapshots
    #[arg(long, default_value = "snapshots", value_name = "DIR")]
    snapshots: PathBuf,

    /// Accept all pending snapshots without asking
    #[arg(long)]
    accept: bool,

    /// Reject all pending snapshots without asking
    #[arg(long, conflicts_with = "accept")]
    reject: bool,
}

const EXAMPLES: &str = "\
Examples:
  anyclaude review             walk the pending snapshots: accept, reject or skip each
  anyclaude review --accept    accept them all, then look with `git diff snapshots/`";

/// What to do with a pending snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Accept,
    Reject,
    Skip,
    Quit,
}

#[derive(Debug, Default)]
struct Tally {
    accepted: usize,
    rejected: usize,
    skipped: usize,
}

impl From<SnapshotError> for CliError {
    fn from(error: SnapshotError) -> Self {
        Self::input(error)
    }
}

pub async fn run(args: Args) -> Result<ExitCode, CliError> {
    if (args.accept || args.reject) && in_ci() {
        return Err(CliError::input("review with CI set: accepting and rejecting is for people; unset CI to do it on purpose"));
    }
    // Reading keys blocks.
    tokio::task::spawn_blocking(move || review(&args)).await.map_err(CliError::backend)?
}

fn review(args: &Args) -> Result<ExitCode, CliError> {
    let store = Store::new(&args.snapshots);
    let pending = store.pending()?;
    if pending.is_empty() {
        print(&format!("Nothing pending in {}.\n", args.snapshots.display()))?;
    } else {
        let tally = walk(args, &pending)?;
        print(&tally.to_string())?;
    }
    print(&unreferenced(&store.unreferenced(Path::new(""))?))?;
    Ok(ExitCode::SUCCESS)
}

fn walk(args: &Args, pending: &[PathBuf]) -> Result<Tally, CliError> {
    let mut tally = Tally::default();
    for (index, path) in pending.iter().enumerate() {
        let answer = match (args.accept, args.reject) {
            (true, _) => Answer::Accept,
            (_, true) => Answer::Reject,
            (false, false) => {
                print(&shown(path, index + 1, pending.len())?)?;
                ask()?
            }
        };
        match answer {
            Answer::Accept => {
                let accepted = accept(path)?;
                print(&format!("{} {}\n", style("accepted").green(), accepted.display()))?;
                tally.accepted += 1;
            }
            Answer::Reject => {
                reject(path)?;
                print(&format!("{} {}\n", style("rejected").red(), path.display()))?;
                tally.rejected += 1;
            }
            Answer::Skip => tally.skipped += 1,
            Answer::Quit => {
                tally.skipped += pending.len() - index;
                break;
            }
        }
    }
    Ok(tally)
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { accepted, rejected, skipped } = self;
        writeln!(f, "\nReviewed: {accepted} accepted, {rejected} rejected, {skipped} still pending")
    }
}

/// All a reviewer needs: the diff, what the user had said, what the recorded upstream answered.
fn shown(pending: &Path, number: usize, of: usize) -> Result<String, SnapshotError> {
    let missing = || SnapshotError::Io { path: pending.into(), source: io::ErrorKind::NotFound.into() };
    let new = Snapshot::read(pending)?.ok_or_else(missing)?;
    let accepted_path = pending.with_extension("");
    let (old_label, old_text) = match Snapshot::read(&accepted_path)? {
        Some(old) => (format!("{} (accepted)", accepted_path.display()), old.outcome.to_text()),
        None => ("nothing accepted yet".into(), String::new()),
    };
    let new_label = format!("{} (pending)", pending.display());
    let mut out = format!("\n{} {}\n", style(format!("[{number} of {of}]")).bold(), style(pending.display()).bold());
    if let Some(info) = &new.metadata.info {
        out.push_str(&field("model", &format!("{}, tool calls as {}", info.model, info.tool_format)));
    }
    if let Some(expression) = &new.metadata.expression {
        out.push_str(&field("replay", expression));
    }
    out.push_str(&recording(new.metadata.input_file.as_deref()));
    out.push_str(&format!(
        "\n{}\n",
        diff(Side { label: &old_label, text: &old_text }, Side { label: &new_label, text: &new.outcome.to_text() })
    ));
    Ok(out)
}

/// The last user turn and the recorded answer, from the trace. A trace that cannot be read is no reason to stop a review.
fn recording(input_file: Option<&str>) -> String {
    let Some(path) = input_file else { return field("trace", "not named in the snapshot") };
    match trace::read(Path::new(path)) {
        Err(error) => field("trace", &error.to_string()),
        Ok(trace) => {
            let turn = trace.messages_request().map(|request| last_user_turn(&request)).unwrap_or_default();
            let turn: String = turn.chars().filter(|c| *c == '\n' || !c.is_control()).take(TURN_LENGTH).collect();
            field("trace", path) + &field("user", &turn) + &field("recorded", &recorded_answer(&trace))
        }
    }
}

fn recorded_answer(trace: &Trace) -> String {
    let Some(outcome) = trace.message().as_ref().map(Outcome::from) else { return "no message".into() };
    let calls: Vec<_> = outcome.tool_use.iter().map(|call| format!("{} {}", call.name, call.input)).collect();
    if calls.is_empty() { "no tool calls".into() } else { calls.join("\n") }
}

/// A name, and its text in a column beside it.
fn field(name: &str, text: &str) -> String {
    let mut lines = text.lines();
    let first = format!("{} {}\n", style(format!("{name:>10}")).cyan(), lines.next().unwrap_or_default());
    lines.fold(first, |out, line| format!("{out}{:10} {line}\n", ""))
}

/// Asks until there is an answer: by single keys on a terminal, by lines otherwise. The end of input is "quit".
fn ask() -> Result<Answer, CliError> {
    let [a, r, s, q] = ["[a]", "[r]", "[s]", "[q]"].map(|key| style(key).bold());
    let question = format!("{}ccept, {}eject, {}kip, {}uit? ", a.green(), r.red(), s.yellow(), q);
    loop {
        print(&question)?;
        let input = if io::stdin().is_terminal() { read_key() } else { read_line() };
        let Some(input) = input else {
            print("\n")?;
            return Ok(Answer::Quit);
        };
        print("\n")?;
        match answer(&input) {
            Some(answer) => return Ok(answer),
            None => print(&format!("{input:?} is none of a, r, s, q.\n"))?,
        }
    }
}

fn answer(input: &str) -> Option<Answer> {
    match input.trim().to_lowercase().as_str() {
        "a" | "accept" => Some(Answer::Accept),
        "r" | "reject" => Some(Answer::Reject),
        "s" | "skip" => Some(Answer::Skip),
        "q" | "quit" => Some(Answer::Quit),
        _ => None,
    }
}

fn read_key() -> Option<String> {
    match Term::stdout().read_key().ok()? {
        Key::Char(c) => Some(c.into()),
        Key::Escape | Key::CtrlC => None,
        other => Some(format!("{other:?}")),
    }
}

fn read_line() -> Option<String> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim().to_string())
}

fn unreferenced(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return String::new();
    }
    let list: String = paths.iter().map(|path| format!("  {}\n", path.display())).collect();
    format!("\nSnapshots whose trace is gone (delete them, or restore the traces):\n{list}")
}
