//! Parts of a report in words, which the terminal, the page and the files share.

use super::units::{count, duration};
use super::{BudgetResult, Distribution, FreeFidelitySummary, ReplayTarget, Report};
use crate::replay::{CaseResult, Phase, ReplaySettings, ReplaySummary, SkippedTrace, Status, one_line};

/// Width of a time.
const TIME_WIDTH: usize = 7;

/// How many reasons are named why traces are skipped.
const MOST_REASONS: usize = 3;

/// The longest reason, in characters.
const REASON_LENGTH: usize = 80;

/// How the whole replay ended.
pub(super) fn verdict(summary: &ReplaySummary) -> &'static str {
    match summary.exit_code() {
        0 if summary.interrupted + summary.not_run > 0 => "not finished",
        0 => "passed",
        _ => "failed",
    }
}

/// The traces, phases and repeats, and what answers.
pub(super) fn what_is_replayed(target: &ReplayTarget, settings: &ReplaySettings, traces: usize) -> String {
    let phases: Vec<_> = settings.phases.iter().map(|phase| phase.name()).collect();
    let repeat = if settings.repeat > 1 { format!(" × {}", settings.repeat) } else { String::new() };
    format!("{} × {}{repeat} against {} (model {})", count(traces, "trace"), phases.join(", "), target.backend, target.model)
}

/// A status as people read it.
pub(super) fn status_word(status: Status) -> &'static str {
    match status {
        Status::AsAccepted => "PASS",
        Status::Updated => "UPDATED",
        Status::New => "NEW",
        Status::Changed => "CHANGED",
        Status::MalformedArguments => "MALFORMED",
        Status::Flaky => "FLAKY",
        Status::CacheFailure => "CACHE",
        Status::PhaseFailure => "PHASE",
        Status::Failed => "FAIL",
        Status::Interrupted => "STOPPED",
    }
}

/// The called tools, in order. Consecutive calls of one tool are shown once, with their number.
pub(super) fn tools(case: &CaseResult) -> String {
    let Some(outcome) = case.outcome() else { return String::new() };
    let names = outcome.tool_names();
    let calls = names.chunk_by(|a, b| a == b).map(|row| match row {
        [name] => name.to_string(),
        row => format!("{} ×{}", row[0], row.len()),
    });
    let calls = calls.collect::<Vec<_>>().join(", ");
    if calls.is_empty() { "(no tool)".into() } else { calls }
}

/// The median TTFT of each phase that was measured.
pub(super) fn phase_times(case: &CaseResult) -> Vec<String> {
    Phase::ALL.into_iter().filter_map(|phase| median_ttft(case, phase)).collect()
}

/// The phase with its median TTFT, or a dash if no measurement of it is valid; `None` if it was not measured.
fn median_ttft(case: &CaseResult, phase: Phase) -> Option<String> {
    case.measurements.iter().find(|measurement| measurement.phase == phase)?;
    let valid = case.valid_measurements().filter(|measurement| measurement.phase == phase);
    let times = valid.filter_map(|measurement| measurement.ttft_us);
    let median = Distribution::of(times).median_us().map_or_else(|| "–".into(), duration);
    Some(format!("{phase} {median:>TIME_WIDTH$}"))
}

/// A budget beside its figure, as a sentence.
pub(super) fn budget_text(result: &BudgetResult) -> String {
    let BudgetResult { phase, metric, percentile, limit_us, time_us, count } = result;
    let what = format!("{phase} {} {}", metric.name(), percentile.name());
    match (time_us, limit_us) {
        (Some(time), Some(limit)) => format!("{what} is {}, of at most {}", duration(*time), duration(*limit)),
        (None, _) => format!("{what} is not known: it takes {} times, and there are {count}", percentile.least_count()),
        (Some(_), None) => format!("{what} is not decided: what it is a share of was not measured"),
    }
}

/// The score of free answers as a sentence.
pub(super) fn fidelity_text(summary: &FreeFidelitySummary) -> String {
    let Some(score) = summary.score else { return "no answer was compared with a recorded one".into() };
    let mut text = format!("with no tool forced: {score:.2} of 1 over {}", count(summary.compared, "trace"));
    if let Some(least) = summary.least {
        text.push_str(&format!(", at least {least:.2} is asked for"));
    }
    let apart =
        [(summary.text_instead_of_call, "text instead of a call"), (summary.call_instead_of_text, "a call instead of text")];
    for (n, what) in apart.iter().filter(|(n, _)| *n > 0) {
        text.push_str(&format!(", {n} × {what}"));
    }
    text
}

/// How many traces came to what.
pub(super) fn counts(report: &Report) -> String {
    let ReplaySummary {
        as_accepted,
        changed,
        new,
        updated,
        malformed_arguments,
        flaky,
        cache_failures,
        phase_failures,
        failed,
        interrupted,
        not_run,
        skipped,
        unreadable,
        without_trace,
        ..
    } = report.summary;
    let wrong = malformed_arguments + flaky + cache_failures + phase_failures + failed;
    let replayed = as_accepted + changed + new + updated + wrong + interrupted;
    let parts = [
        (changed, "changed".into()),
        (new, "new".into()),
        (updated, "updated".into()),
        (malformed_arguments, "with malformed arguments".into()),
        (flaky, "flaky".into()),
        (cache_failures, plural(cache_failures, "cache failure")),
        (phase_failures, plural(phase_failures, "phase failure")),
        (failed, "failed".into()),
        (interrupted, "stopped".into()),
        (not_run, "not run".into()),
        (unreadable, "unreadable".into()),
        (without_trace, format!("{} without a trace", plural(without_trace, "snapshot"))),
        (skipped, format!("skipped ({})", reasons(&report.untested.skipped))),
    ];
    let mut text = format!("{}: {as_accepted} as accepted", count(replayed, "trace"));
    for (n, what) in parts.iter().filter(|(n, _)| *n > 0) {
        text.push_str(&format!(", {n} {what}"));
    }
    text
}

/// Why traces were skipped, each reason once and some of them at most.
fn reasons(skipped: &[SkippedTrace]) -> String {
    let mut reasons: Vec<String> = Vec::new();
    for reason in skipped.iter().map(|trace| one_line(&trace.reason, REASON_LENGTH)) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    if reasons.len() > MOST_REASONS {
        reasons.truncate(MOST_REASONS);
        reasons.push("…".into());
    }
    reasons.join("; ")
}

fn plural(n: usize, noun: &str) -> String {
    if n == 1 { noun.into() } else { format!("{noun}s") }
}
