//! What fails a replay, as one list: each trace, file and figure that is not as it should be. Pure.

use std::path::PathBuf;

use super::sureness::in_words;
use super::terminal::detail;
use super::words::{budget_text, fidelity_text};
use super::{Comparison, Report};
use crate::replay::{CaseResult, Finding, Kind, Status};

/// One thing that fails a replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The most important of its kinds.
    pub kind: Kind,
    /// The trace's name, the file's, or the figure's.
    pub name: String,
    /// The file that it is about, if there is one.
    pub file: Option<PathBuf>,
    /// A line for each thing that was found.
    pub text: String,
    /// All that is known of it, with diffs.
    pub detail: String,
}

/// All problems of a replay: traces in their order, then files, margins and times.
pub fn problems(report: &Report) -> Vec<Problem> {
    let untested = &report.untested;
    let unreadable = untested.unreadable.iter().map(|skipped| {
        let text = skipped.reason.clone();
        of_file(Kind::Unreadable, skipped.trace.clone(), text)
    });
    let lost = untested.without_trace.iter().map(|snapshot| {
        let text = "the snapshot's trace is gone, so nothing tests it".to_owned();
        of_file(Kind::TraceLost, snapshot.clone(), text)
    });
    let traces = report.cases.iter().filter_map(|case| of_case(case, report));
    traces.chain(unreadable).chain(lost).chain(figures(report)).collect()
}

fn of_case(case: &CaseResult, report: &Report) -> Option<Problem> {
    if matches!(case.status, Status::AsAccepted | Status::Updated | Status::Interrupted) {
        return None;
    }
    let lines: Vec<_> = case.findings.iter().filter(|finding| !finding.kind.is_notice()).map(Finding::to_string).collect();
    Some(Problem {
        kind: case.kind()?,
        name: case.id.to_string(),
        file: Some(case.trace.clone()),
        text: lines.join("\n"),
        detail: console::strip_ansi_codes(&detail(case, report.target.states)).into_owned(),
    })
}

fn of_file(kind: Kind, file: PathBuf, text: String) -> Problem {
    Problem { kind, name: file.display().to_string(), file: Some(file), detail: text.clone(), text }
}

/// What the baseline and the budgets do not allow.
fn figures(report: &Report) -> impl Iterator<Item = Problem> {
    let of_figure = |kind: Kind, name: String, text: String| Problem { kind, name, file: None, detail: text.clone(), text };
    let less_sure = report.comparison.iter().flat_map(Comparison::less_sure).map(move |drop| {
        let text = format!("{} ({:.2} in the baseline)", in_words(&drop.tool, &drop.now), drop.before);
        of_figure(Kind::LessSure, drop.id.clone(), text)
    });
    let slower = report.comparison.iter().flat_map(Comparison::slower).map(move |speed| {
        let text = format!("{:.2} times the baseline, {:.2} to {:.2}", speed.ratio, speed.low, speed.high);
        of_figure(Kind::Slower, format!("{} {}", speed.phase, speed.metric.name()), text)
    });
    let over = report.budgets.iter().filter(|result| result.is_over() == Some(true)).map(move |result| {
        let name = format!("{} {} {}", result.phase, result.metric.name(), result.percentile.name());
        of_figure(Kind::OverBudget, name, budget_text(result))
    });
    let fidelity = report.free_fidelity.iter().filter(|summary| summary.is_too_low());
    let fidelity = fidelity.map(move |summary| of_figure(Kind::LowFidelity, "fidelity".into(), fidelity_text(summary)));
    fidelity.chain(less_sure).chain(slower).chain(over)
}
