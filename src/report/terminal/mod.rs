//! The report on a terminal: a status line for each trace, details of those that are not as accepted, the summary, the next
//! steps.

use std::path::Path;

use console::{Alignment, Style, pad_str, style};

use crate::backend::{CallMargin, LeastMargin};
use crate::replay::{CaseResult, Disagreement, Finding, Kind, Margins, Policy, ReplaySettings, ReplaySummary, Status, Verdict};
use crate::report::sureness::in_words;
use crate::report::tables::{fidelity_table, latency_tables, speed_table, ttft_histograms};
use crate::report::units::{count, percent};
use crate::report::words::{budget_text, counts, fidelity_text, phase_times, status_word, tools, what_is_replayed};
use crate::report::{MarginDrop, ReplayTarget, Report, States};
use crate::snapshot::{ExchangeId, Rule, Side, diff};

/// Width of the right-aligned status words.
const STATUS_WIDTH: usize = 12;
/// Width of the column of called tools.
const TOOLS_WIDTH: usize = 20;
/// How many margins are shown, unless more are past their limit.
const SHOWN_MARGINS: usize = 5;

/// The first line, which says what is going to happen.
pub fn header(target: &ReplayTarget, settings: &ReplaySettings, traces: usize) -> String {
    status_line("Replaying", Style::new().bold().green(), &what_is_replayed(target, settings, traces))
}

/// The status line of a trace. `id_width` is the width of the widest name.
pub fn case_line(case: &CaseResult, id_width: usize) -> String {
    let (word, colour) = (status_word(case.status), status_style(case.status));
    let id = case.id.to_string();
    let id = pad_str(&id, id_width, Alignment::Left, None);
    let tools = tools(case);
    let tools = pad_str(&tools, TOOLS_WIDTH, Alignment::Left, Some("…"));
    let flaky = case.findings.iter().any(|finding| finding.kind == Kind::Flaky);
    let flaky = case.agreement.filter(|_| flaky).map(|agreement| format!("  flaky, {agreement}")).unwrap_or_default();
    let rules = match case.rules_needed {
        0 => String::new(),
        needed => format!("  equal under {}", count(needed, "rule")),
    };
    status_line(word, colour, &format!("{id}  {tools}  {}{flaky}{rules}", phase_times(case).join("  ")))
}

fn status_line(word: &str, colour: Style, rest: &str) -> String {
    format!("{} {}\n", colour.apply_to(format!("{word:>STATUS_WIDTH$}")), rest.trim_end())
}

pub(super) fn status_style(status: Status) -> Style {
    let bold = Style::new().bold();
    match status {
        Status::AsAccepted | Status::Updated => bold.green(),
        Status::New | Status::Interrupted => bold.yellow(),
        Status::Flaky | Status::CacheFailure => bold.magenta(),
        Status::Changed | Status::MalformedArguments | Status::PhaseFailure | Status::Failed => bold.red(),
    }
}

/// What is wrong with each trace that is not as accepted, below its status line. Empty if all are.
pub fn details(report: &Report, id_width: usize) -> String {
    let mut out = String::new();
    for case in report.cases {
        let detail = detail(case, report.target.states);
        if !detail.is_empty() {
            out.push_str(&format!("\n{}", case_line(case, id_width)));
            for line in detail.lines() {
                out.push_str(&format!("    {line}\n"));
            }
        }
    }
    out
}

/// What is wrong with a trace; empty if it is as accepted, or has no snapshot and nothing else.
pub(super) fn detail(case: &CaseResult, states: States) -> String {
    let mut out = String::new();
    for finding in case.findings.iter().filter(|finding| !finding.kind.is_notice() && finding.kind != Kind::NoSnapshot) {
        out.push_str(&format!("{finding}\n"));
    }
    if states == States::Salt && !case.disagreements.is_empty() {
        out.push_str("the prompts differed in their salts, which may be the cause instead of the cache\n");
    }
    for Disagreement { first, other, first_outcome, other_outcome } in &case.disagreements {
        let old = Side { label: &first.to_string(), text: &first_outcome.to_text() };
        let new = Side { label: &other.to_string(), text: &other_outcome.to_text() };
        out.push_str(&diff(old, new));
    }
    if let Verdict::Changed { accepted, found } = &case.verdict {
        let old = format!("{} (accepted)", case.snapshot.display());
        let new =
            case.pending.as_ref().map_or_else(|| "this replay".into(), |pending| format!("{} (this replay)", pending.display()));
        out.push_str(&diff(Side { label: &old, text: &accepted.to_text() }, Side { label: &new, text: &found.to_text() }));
    }
    out
}

/// A histogram of TTFT for each phase. Empty if nothing was measured.
pub fn histograms(report: &Report) -> String {
    match report.latency.as_slice() {
        [] => String::new(),
        phases => format!("\n{}", ttft_histograms(phases)),
    }
}

/// Latency tables, with notes on how to read them. Empty if nothing was measured.
pub fn latency(report: &Report) -> String {
    if report.latency.is_empty() {
        return String::new();
    }
    format!("\n{}{}", latency_tables(&report.latency), notes(report))
}

/// The figures beside an earlier replay's and beside their budgets. Empty without either.
pub fn speed(report: &Report) -> String {
    let mut out = report.comparison.as_ref().map_or_else(String::new, |comparison| format!("\n{}", speed_table(comparison)));
    for result in &report.budgets {
        let (word, colour) = match result.is_over() {
            Some(true) => ("over-budget", Style::new().bold().red()),
            Some(false) => ("budget", Style::new().bold().green()),
            None => ("budget", Style::new().bold().yellow()),
        };
        out.push_str(&status_line(word, colour, &budget_text(result)));
    }
    out
}

/// How near answers come to the recorded ones if no tool is forced. Empty if nobody asked.
pub fn free_fidelity(report: &Report) -> String {
    let Some(summary) = &report.free_fidelity else { return String::new() };
    let style = if summary.is_too_low() { Style::new().bold().red() } else { Style::new().bold() };
    let word = if summary.is_too_low() { Kind::LowFidelity.name() } else { "Fidelity" };
    let table = if summary.tools.is_empty() { String::new() } else { format!("\n{}", fidelity_table(summary)) };
    format!("{table}\n{}", status_line(word, style, &fidelity_text(summary)))
}

/// How sure the model was of the accepted calls: beside the baseline's, or else where it was least sure. Empty if nobody asked.
pub fn margins(report: &Report) -> String {
    let mut out = String::new();
    let bold = Style::new().bold();
    match report.comparison.as_ref().filter(|comparison| !comparison.margins.is_empty()) {
        Some(comparison) => {
            let past = comparison.less_sure().count();
            for (at, drop) in comparison.margins.iter().enumerate().take(past.max(SHOWN_MARGINS)) {
                let (word, colour) = if at < past { ("less-sure", bold.clone().red()) } else { ("Margin", bold.clone()) };
                let MarginDrop { id, drop, before, now, tool, .. } = drop;
                let change = format!("{:+.2}, {before:.2} in the baseline", -drop);
                out.push_str(&status_line(word, colour, &format!("{id}  {} ({change})", in_words(tool, now))));
            }
        }
        None => {
            for (id, call, least) in least_sure(report.cases).iter().take(SHOWN_MARGINS) {
                out.push_str(&status_line("Margin", bold.clone(), &format!("{id}  {}", in_words(&call.tool, least))));
            }
        }
    }
    let mut missing: Vec<(&str, usize)> = Vec::new();
    for case in report.cases {
        let Some(Margins::Missing { missing: why }) = &case.margins else { continue };
        match missing.iter_mut().find(|(known, _)| known == why) {
            Some((_, n)) => *n += 1,
            None => missing.push((why, 1)),
        }
    }
    for (why, n) in missing {
        out.push_str(&status_line("Margin", bold.clone().yellow(), &format!("missing for {}: {why}", count(n, "trace"))));
    }
    if out.is_empty() { out } else { format!("\n{out}") }
}

/// The calls of all traces of which the model was least sure, these first.
fn least_sure(cases: &[CaseResult]) -> Vec<(&ExchangeId, &CallMargin, &LeastMargin)> {
    let known = cases.iter().filter_map(|case| Some((&case.id, case.margins.as_ref()?.known()?)));
    let calls = known.flat_map(|(id, answer)| answer.calls.iter().map(move |call| (id, call)));
    let mut calls: Vec<_> = calls.filter_map(|(id, call)| Some((id, call, call.least.as_ref()?))).collect();
    calls.sort_by(|(.., one), (.., other)| one.margin.total_cmp(&other.margin));
    calls
}

/// The last lines: fidelity, summary, next steps.
pub fn closing(report: &Report, policy: Policy) -> String {
    let fidelity = fidelity(report);
    let (notices, retries) = (notices(report), retries(report.summary.retries));
    format!("\n{notices}{fidelity}{retries}{}{}", summary(report), next_steps(report, policy))
}

/// What is only said, each once with the number of traces.
fn notices(report: &Report) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for finding in report.cases.iter().flat_map(|case| &case.findings).filter(|finding| finding.kind.is_notice()) {
        let text = finding.to_string();
        match counts.iter_mut().find(|(known, _)| *known == text) {
            Some((_, n)) => *n += 1,
            None => counts.push((text, 1)),
        }
    }
    let line = |(text, n): (String, usize)| {
        status_line("Notice", Style::new().bold().yellow(), &format!("{text} ({})", count(n, "trace")))
    };
    let unused = |rule: &Rule| {
        let finding = Finding::at_said(Kind::RuleUnused, "replay.match", rule.to_string());
        status_line("Notice", Style::new().bold().yellow(), &finding.to_string())
    };
    counts.into_iter().map(line).chain(report.untested.unused_rules.iter().map(unused)).collect()
}

fn retries(n: u32) -> String {
    match n {
        0 => String::new(),
        n => {
            let what = format!("{} sent again because the backend was busy", count(n as usize, "request"));
            status_line("Retried", Style::new().bold().yellow(), &what)
        }
    }
}

/// Notes on figures that are less certain than they look.
fn notes(report: &Report) -> String {
    let of_states = match report.target.states {
        States::CacheControl => None,
        States::Salt => Some(
            "The backend offers no cache control: cold and warm were made by salting the prompt's start; the tokens that its chat template puts before that stay cached.",
        ),
        States::NoCache => Some(
            "The backend answers with recordings: requests were sent as they were recorded, and cold, warm and cached are the same there.",
        ),
    };
    let mut notes: Vec<&str> = of_states.into_iter().collect();
    if report.latency.iter().any(|phase| phase.cache_hit_share.is_none()) {
        notes.push("UNVERIFIED: the backend reports no cache figures, so whether cold, warm and cached happened is not known.");
    }
    notes.iter().map(|note| format!("\n{}\n", style(note).yellow())).collect()
}

fn fidelity(report: &Report) -> String {
    let share = &report.fidelity;
    if share.compared == 0 {
        return String::new();
    }
    let of = |part: usize| format!("{part} of {} ({})", share.compared, percent(part as f64 / share.compared as f64));
    let forced = if report.forces_first_tool() { " (the first tool was forced)" } else { "" };
    let what = format!("as recorded: same tools {}{forced}, same arguments {}", of(share.same_tools), of(share.same_arguments));
    status_line("Fidelity", Style::new().bold(), &what)
}

/// What came of all traces, as one line.
pub fn totals(report: &Report) -> String {
    summary(report)
}

fn summary(report: &Report) -> String {
    let style = if report.summary.exit_code() == 0 { Style::new().bold().green() } else { Style::new().bold().red() };
    status_line("Summary", style, &counts(report))
}

/// The command that shows these pending snapshots, which are all in one folder.
fn review_of<'a>(mut pending: impl Iterator<Item = &'a Path>) -> String {
    match pending.next().and_then(Path::parent) {
        Some(folder) if folder != Path::new("snapshots") => format!("anyclaude review --snapshots {}", folder.display()),
        _ => "anyclaude review".to_owned(),
    }
}

/// What to do about the traces that are not as accepted. Empty if all are.
fn next_steps(report: &Report, policy: Policy) -> String {
    let pending: Vec<&Path> = report.cases.iter().filter_map(|case| case.pending.as_deref()).collect();
    let ReplaySummary { changed, new, malformed_arguments, flaky, cache_failures, phase_failures, failed, without_trace, .. } =
        report.summary;
    let next = |what: &str| status_line("Next", Style::new().bold().cyan(), what);
    let mut out = String::new();
    if !pending.is_empty() {
        let review = review_of(pending.iter().copied());
        out.push_str(&next(&format!("run `{review}` to accept or reject {}", count(pending.len(), "pending snapshot"))));
    } else if policy == Policy::Check && changed + new > 0 {
        out.push_str(&next(
            "replay on your machine without --check, so that outcomes wait for review; run the `anyclaude review` that it names, commit what you accept",
        ));
    }
    if without_trace > 0 {
        out.push_str(&next("bring back the traces of the snapshots that have none, or delete these snapshots"));
    }
    if malformed_arguments > 0 {
        out.push_str(&next("fix the server's tool calls: outcomes with malformed arguments were not written for review"));
    }
    if flaky > 0 {
        out.push_str(&next("find out why one request has several answers (--flaky pass accepts what most of them say)"));
    }
    if cache_failures > 0 {
        out.push_str(&next("fix the backend's cache: outcomes on which the phases disagree were not written for review"));
    }
    let too_slow = report.summary.kinds.keys().any(|kind| matches!(kind, Kind::Slower | Kind::OverBudget));
    if too_slow {
        out.push_str(&next("find out what became slower: the outcomes are not the reason"));
    }
    if report.summary.kinds.contains_key(&Kind::LowFidelity) {
        out.push_str(&next("find out where answers differ from the recorded ones if no tool is forced"));
    }
    if report.summary.kinds.contains_key(&Kind::LessSure) {
        out.push_str(&next("find out what made the model less sure: the next change may flip an answer"));
    }
    if phase_failures + failed > 0 {
        out.push_str(&next("fix what failed (reasons above) and replay again: its times are left out"));
    }
    out
}

#[cfg(test)]
mod tests;
