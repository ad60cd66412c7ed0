//! Two replays beside each other as lines for a terminal.

use console::{Style, style};
use serde_json::Value;

use super::figures::{figures, table};
use super::run::RunTarget;
use super::{FinishedRun, Flip, Flips};
use crate::replay::one_line;
use crate::report::tables::as_text;
use crate::report::words::status_word;
use crate::snapshot::Outcome;

/// The longest answer in a line, in characters. The files have it whole.
const SHOWN: usize = 100;

/// The settings that make outcomes or figures other ones. How often is retried, for one, does not.
const SETTINGS: [&str; 7] = ["phases", "repeat", "max_tokens", "tool_choice", "flaky", "pass_rate", "matching"];

/// What flipped, then the figures, then the count.
pub fn to_terminal(before: &FinishedRun, now: &FinishedRun, flips: &Flips) -> String {
    let mut out = format!("  A  {}\n  B  {}\n", target(&before.target), target(&now.target));
    let (bad, good) = (Style::new().bold().red(), Style::new().bold().green());
    for (name, color, flips) in
        [("Lost", bad.clone(), &flips.lost), ("Won", good.clone(), &flips.won), ("Changed", Style::new().bold(), &flips.changed)]
    {
        if !flips.is_empty() {
            out.push_str(&format!("\n  {}\n", color.apply_to(name)));
            flips.iter().for_each(|flip| out.push_str(&lines(flip)));
        }
    }
    out.push_str(&format!("\n{}", as_text(table(&figures(before, now)))));
    for note in notes(before, now, flips) {
        out.push_str(&format!("\n{}\n", style(note).yellow()));
    }
    let verdict = if flips.exit_code() == 0 { good } else { bad };
    out + &format!("\n{} {}\n", verdict.apply_to("     Summary"), summary(flips))
}

fn target(RunTarget { backend, model, host }: &RunTarget) -> String {
    one_line(&format!("{backend} (model {model}) on {host}"), usize::MAX)
}

/// The trace, its status before and now, and below it why, or both answers.
fn lines(Flip { before, now }: &Flip) -> String {
    let id = one_line(&before.id, SHOWN);
    let Some(now) = now else {
        return format!("    {id}  {} → not replayed\n", status_word(before.status));
    };
    let mut out = format!("    {id}  {} → {}\n", status_word(before.status), status_word(now.status));
    let (why_before, why) = (before.finding(), now.finding());
    match why.filter(|_| why != why_before) {
        Some(finding) => out.push_str(&format!("        {}\n", one_line(&finding.to_string(), usize::MAX))),
        None if before.usual() != now.usual() => {
            let [before, now] = [before.usual(), now.usual()].map(answer);
            out.push_str(&format!("        A: {before}\n        B: {now}\n"));
        }
        None => {}
    }
    out
}

fn answer(outcome: Option<&Outcome>) -> String {
    let Some(outcome) = outcome else { return "no answer".into() };
    let calls: Vec<_> = outcome.tool_use.iter().map(|call| format!("{} {}", call.name, call.input)).collect();
    if calls.is_empty() { "(no tool)".into() } else { one_line(&calls.join(", "), SHOWN) }
}

/// What makes the figures or the outcomes less comparable than they look.
pub(super) fn notes(before: &FinishedRun, now: &FinishedRun, flips: &Flips) -> Vec<String> {
    let unfinished = ["A", "B"].into_iter().zip(flips.finished).filter(|(_, is_finished)| !is_finished);
    let mut notes: Vec<_> =
        unfinished.map(|(name, _)| format!("{name} did not finish: it was stopped, or replayed nothing.")).collect();
    if before.target.host != now.target.host {
        notes.push("The times are of two machines.".to_owned());
    }
    let setting = |run: &FinishedRun, name: &str| run.settings.get(name).cloned().unwrap_or(Value::Null);
    let differing: Vec<_> = SETTINGS.into_iter().filter(|name| setting(before, name) != setting(now, name)).collect();
    if !differing.is_empty() {
        notes.push(format!("These settings differ: {}.", differing.join(", ")));
    }
    notes
}

fn summary(Flips { lost, won, changed, same, added, .. }: &Flips) -> String {
    let only_in_b = if *added > 0 { format!(", {added} only in B") } else { String::new() };
    format!("{} lost, {} won, {} changed, {same} the same{only_in_b}", lost.len(), won.len(), changed.len())
}
