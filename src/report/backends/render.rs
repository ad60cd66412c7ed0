//! Several backends as lines for a terminal, and their problems as one list.

use console::{Style, style};

use super::{Backends, ExchangeAnswers, SharedAnswer, figures};
use crate::report::problem::{Problem, problems};
use crate::report::tables::as_text;
use crate::report::terminal::status_style;
use crate::report::units::count;
use crate::report::words::status_word;
use crate::snapshot::ToolUse;

/// The longest call in a line, in characters. The `--json` file has it whole.
const SHOWN: usize = 100;

/// The table, and below it the exchanges that are answered differently or not as accepted.
pub fn to_terminal(side: &Backends) -> String {
    let mut out = format!("\n{}{}", as_text(figures(&side.backends)), notes(side));
    if !side.differing.is_empty() {
        let what = "Exchanges that are answered differently, or not as accepted";
        out.push_str(&format!("\n{}\n", style(what).bold()));
    }
    for exchange in &side.differing {
        out.push_str(&format!("\n  {}\n", exchange.id));
        for answer in &exchange.answers {
            let word = status_style(answer.status).apply_to(format!("{:>11}", status_word(answer.status)));
            out.push_str(&format!("  {word} {}\n", answer_line(answer)));
            for finding in &answer.findings {
                out.push_str(&format!("              {finding}\n"));
            }
        }
    }
    let worst = if side.exit_code() == 0 { Style::new().bold().green() } else { Style::new().bold().red() };
    format!("{out}\n{} {}\n", worst.apply_to("     Summary"), summary(side))
}

/// How many exchanges are not answered alike, and how many not by all.
pub(in crate::report) fn summary(side: &Backends) -> String {
    let has_none = |exchange: &&ExchangeAnswers| exchange.answers.iter().any(|answer| answer.outcome.is_none());
    let unanswered = match side.differing.iter().filter(has_none).count() {
        0 => String::new(),
        some => format!(", {} not answered by all", count(some, "exchange")),
    };
    let differing = side.differing.iter().filter(|exchange| exchange.answered_differently).count();
    format!("{} answered differently by {}{unanswered}", count(differing, "exchange"), count(side.backends.len(), "backend"))
}

/// Who answered so, and the calls.
pub(in crate::report) fn answer_line(answer: &SharedAnswer) -> String {
    let names = answer.backends.join(", ");
    let Some(outcome) = &answer.outcome else { return format!("{names}: no answer") };
    let calls: Vec<_> = outcome.tool_use.iter().map(call).collect();
    let calls = if calls.is_empty() { "(no tool)".to_owned() } else { calls.join(", ") };
    format!("{names}: {calls}")
}

fn call(call: &ToolUse) -> String {
    crate::replay::one_line(&format!("{} {}", call.name, call.input), SHOWN)
}

/// `passed` or `failed`.
pub(in crate::report) fn verdict_of_all(side: &Backends) -> &'static str {
    if side.exit_code() == 0 { "passed" } else { "failed" }
}

/// What fails on any backend, under the backend's name.
pub fn problems_of_all(side: &Backends) -> Vec<Problem> {
    let of_backend = side.backends.iter().map(|backend| (backend, problems(&backend.report)));
    let named = of_backend.flat_map(|(backend, problems)| {
        problems.into_iter().map(|problem| Problem { name: format!("{}: {}", backend.name, problem.name), ..problem })
    });
    named.collect()
}

/// Notes on figures that are less certain than they look.
fn notes(side: &Backends) -> String {
    let is_unverified =
        |backend: &&super::NamedReport| backend.report.latency.iter().any(|phase| phase.cache_hit_share.is_none());
    let unverified: Vec<_> = side.backends.iter().filter(is_unverified).map(|backend| backend.name.as_str()).collect();
    let forced = side.backends.iter().any(|backend| backend.report.forces_first_tool());
    let mut notes = Vec::new();
    if !unverified.is_empty() {
        let names = unverified.join(", ");
        notes.push(format!("UNVERIFIED: no cache figures from {names}, so whether cold, warm and cached happened is not known."));
    }
    if forced {
        notes.push("The first tool was forced, as recorded; --tool-choice auto lets the models choose.".into());
    }
    notes.iter().map(|note| format!("\n{}\n", style(note).yellow())).collect()
}
