//! `anyclaude review`: accepting or rejecting pending snapshots, one by one or all at once.

use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use console::{Key, Term, style};

use super::environment::in_ci;
use super::{CliError, print};
use crate::replay::last_user_turn;
use crate::snapshot::{Outcome, Side, Snapshot, SnapshotError, Store, accept, accept_beside, diff, read_pending, reject};
use crate::trace::{self, Trace};

/// How much of the user turn is shown, in characters.
const TURN_LENGTH: usize = 600;

/// Accept or reject the pending snapshots, one by one
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReviewArgs {
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
  anyclaude review             accept, reject or skip each pending snapshot
  anyclaude review --accept    accept them all, to be read with `git diff snapshots/`";

/// What to do with a pending snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Accept,
    /// Accept it beside what is accepted already.
    AcceptBeside,
    Reject,
    Skip,
    /// Skip this one and all that follow.
    Quit,
}

/// How many snapshots were accepted, rejected and skipped.
#[derive(Debug, Default)]
struct Tally {
    accepted: usize,
    rejected: usize,
    skipped: usize,
}

/// Reviews all pending snapshots. Waits for the user's keys.
pub(super) fn run(args: &ReviewArgs) -> Result<ExitCode, CliError> {
    let decision_for_all = match (args.accept, args.reject) {
        (true, _) => Some(Decision::Accept),
        (_, true) => Some(Decision::Reject),
        (false, false) => None,
    };
    if decision_for_all.is_some() && in_ci() {
        return Err(CliError::input("review with CI set: accepting and rejecting is for people; unset CI to do it on purpose"));
    }
    let store = Store::new(&args.snapshots);
    let pending = store.pending()?;
    if pending.is_empty() {
        print(&format!("Nothing pending in {}.\n", args.snapshots.display()))?;
    } else {
        print(&review(&pending, decision_for_all)?.to_string())?;
    }
    print(&unreferenced(&store.unreferenced(Path::new(""))?))?;
    Ok(ExitCode::SUCCESS)
}

/// Asks about each snapshot, unless there is one decision for all, and does what was decided.
fn review(pending: &[PathBuf], decision_for_all: Option<Decision>) -> Result<Tally, CliError> {
    let mut tally = Tally::default();
    for (index, path) in pending.iter().enumerate() {
        let decision = match decision_for_all {
            Some(decision) => decision,
            None => {
                print(&shown(path, index + 1, pending.len())?)?;
                ask()?
            }
        };
        match decision {
            Decision::Accept | Decision::AcceptBeside => {
                let accept = if decision == Decision::Accept { accept } else { accept_beside };
                let accepted = accept(path)?;
                print(&format!("{} {}\n", style("accepted").green(), accepted.display()))?;
                tally.accepted += 1;
            }
            Decision::Reject => {
                reject(path)?;
                print(&format!("{} {}\n", style("rejected").red(), path.display()))?;
                tally.rejected += 1;
            }
            Decision::Skip => tally.skipped += 1,
            Decision::Quit => {
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

/// Everything a reviewer needs: what the user had said, what the recorded upstream answered, the diff.
fn shown(pending: &Path, number: usize, of: usize) -> Result<String, SnapshotError> {
    let new = read_pending(pending)?;
    let accepted_path = pending.with_extension("");
    let accepted = Snapshot::read(&accepted_path)?;
    let (old_label, old_text) = match &accepted {
        Some(old) => (format!("{} (accepted)", accepted_path.display()), old.content()),
        None => ("nothing accepted yet".into(), String::new()),
    };
    let new_label = format!("{} (pending)", pending.display());
    let mut out = format!("\n{} {}\n", style(format!("[{number} of {of}]")).bold(), style(pending.display()).bold());
    if let Some(info) = &new.metadata.info {
        out.push_str(&field("model", &format!("{}, tool calls as {}", info.model, info.tool_format)));
    }
    if let Some((old, new)) = accepted.as_ref().and_then(prompt_tokens).zip(prompt_tokens(&new)).filter(|(old, new)| old != new) {
        out.push_str(&field("prompt", &format!("{new} tokens, {old} when it was accepted")));
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

fn prompt_tokens(snapshot: &Snapshot) -> Option<u64> {
    snapshot.metadata.info.as_ref()?.prompt_tokens
}

/// The last user turn and the recorded answer, from the trace. If the trace cannot be read, its error is shown instead: that is
/// no reason to stop a review.
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

/// A name with its text in a column beside it.
fn field(name: &str, text: &str) -> String {
    let mut lines = text.lines();
    let first = format!("{} {}\n", style(format!("{name:>10}")).cyan(), lines.next().unwrap_or_default());
    lines.fold(first, |out, line| format!("{out}{:10} {line}\n", ""))
}

/// Asks until there is a decision: reads single keys on a terminal, lines elsewhere. The end of the input means "quit".
fn ask() -> Result<Decision, CliError> {
    let [a, also, r, s, q] = ["[a]", "[+]", "[r]", "[s]", "[q]"].map(|key| style(key).bold());
    let (a, also, r, s) = (a.green(), also.green(), r.red(), s.yellow());
    let question = format!("{a}ccept, {also} accept beside the accepted one, {r}eject, {s}kip, {q}uit? ");
    loop {
        print(&question)?;
        let input = if io::stdin().is_terminal() { read_key() } else { read_line() };
        let Some(input) = input else {
            print("\n")?;
            return Ok(Decision::Quit);
        };
        print("\n")?;
        match parse_decision(&input) {
            Some(decision) => return Ok(decision),
            None => print(&format!("{input:?} is none of a, +, r, s, q.\n"))?,
        }
    }
}

fn parse_decision(input: &str) -> Option<Decision> {
    match input.trim().to_lowercase().as_str() {
        "a" | "accept" => Some(Decision::Accept),
        "+" | "beside" => Some(Decision::AcceptBeside),
        "r" | "reject" => Some(Decision::Reject),
        "s" | "skip" => Some(Decision::Skip),
        "q" | "quit" => Some(Decision::Quit),
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
