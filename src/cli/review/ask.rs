//! Reviewing line by line, for pipes and terminals without a full screen.

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

use console::{Key, Term, style};

use super::shown::shown;
use super::{CliError, Tally, print};
use crate::review::Decision;
use crate::snapshot::PendingFile;

/// What to do next.
enum Answer {
    Decided(Decision),
    /// Skip this one and all that follow.
    Quit,
}

/// Asks about each snapshot, and does what was decided at once.
pub(super) fn ask_about_each(pending: &[PathBuf]) -> Result<Tally, CliError> {
    let mut tally = Tally::default();
    for (index, path) in pending.iter().enumerate() {
        let file = match PendingFile::read(path).and_then(|file| Ok((shown(&file, index + 1, pending.len())?, file))) {
            Ok((text, file)) => {
                print(&text)?;
                file
            }
            Err(error) => {
                print("\n")?;
                tally.leave(&error)?;
                continue;
            }
        };
        match ask()? {
            Answer::Decided(decision) => tally.carry_out(&file, decision)?,
            Answer::Quit => {
                tally.skipped += pending.len() - index;
                break;
            }
        }
    }
    Ok(tally)
}

/// Asks until there is a decision: reads single keys on a terminal, lines elsewhere. The end of the input means "quit".
fn ask() -> Result<Answer, CliError> {
    let [a, also, r, s, q] = ["[a]", "[+]", "[r]", "[s]", "[q]"].map(|key| style(key).bold());
    let (a, also, r, s) = (a.green(), also.green(), r.red(), s.yellow());
    let question = format!("{a}ccept, {also} accept beside the accepted one, {r}eject, {s}kip, {q}uit? ");
    loop {
        print(&question)?;
        let input = if io::stdin().is_terminal() { read_key() } else { read_line() };
        let Some(input) = input else {
            print("\n")?;
            return Ok(Answer::Quit);
        };
        print("\n")?;
        match parse_answer(&input) {
            Some(answer) => return Ok(answer),
            None => print(&format!("{input:?} is none of a, +, r, s, q.\n"))?,
        }
    }
}

fn parse_answer(input: &str) -> Option<Answer> {
    match input.trim().to_lowercase().as_str() {
        "a" | "accept" => Some(Answer::Decided(Decision::Accept)),
        "+" | "beside" => Some(Answer::Decided(Decision::AcceptBeside)),
        "r" | "reject" => Some(Answer::Decided(Decision::Reject)),
        "s" | "skip" => Some(Answer::Decided(Decision::Skip)),
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
