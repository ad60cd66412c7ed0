//! The report on a terminal: a status line for each trace, details of those that are not as accepted, the summary, the next
//! steps.

use console::{Alignment, Style, pad_str, style};

use crate::replay::{
    CaseResult, Disagreement, MalformedArguments, Phase, Policy, ReplaySettings, ReplaySummary, Status, ToolChoiceMode, Verdict,
};
use crate::report::tables::latency_tables;
use crate::report::units::{count, duration, percent};
use crate::report::{Distribution, FidelityShare, ReplayTarget, Report, States};
use crate::snapshot::{Side, diff};

/// Width of the right-aligned status words.
const STATUS_WIDTH: usize = 12;
/// Width of the column of called tools.
const TOOLS_WIDTH: usize = 20;
/// Width of a time.
const TIME_WIDTH: usize = 7;

/// The first line, which says what is going to happen.
pub fn header(target: &ReplayTarget, settings: &ReplaySettings, traces: usize) -> String {
    let phases: Vec<_> = settings.phases.iter().map(|phase| phase.name()).collect();
    let repeat = if settings.repeat > 1 { format!(" × {}", settings.repeat) } else { String::new() };
    let what =
        format!("{} × {}{repeat} against {} (model {})", count(traces, "trace"), phases.join(", "), target.backend, target.model);
    status_line("Replaying", Style::new().bold().green(), &what)
}

/// The status line of a trace. `id_width` is the width of the widest `session/seq`.
pub fn case_line(case: &CaseResult, id_width: usize) -> String {
    let (word, colour) = status_word(case.status());
    let id = case.id.to_string();
    let id = pad_str(&id, id_width, Alignment::Left, None);
    let tools = tools(case);
    let tools = pad_str(&tools, TOOLS_WIDTH, Alignment::Left, Some("…"));
    let times: Vec<_> = Phase::ALL.into_iter().filter_map(|phase| median_ttft(case, phase)).collect();
    status_line(word, colour, &format!("{id}  {tools}  {}", times.join("  ")))
}

fn status_line(word: &str, colour: Style, rest: &str) -> String {
    format!("{} {}\n", colour.apply_to(format!("{word:>STATUS_WIDTH$}")), rest.trim_end())
}

fn status_word(status: Status) -> (&'static str, Style) {
    let bold = Style::new().bold();
    match status {
        Status::AsAccepted => ("PASS", bold.green()),
        Status::Updated => ("UPDATED", bold.green()),
        Status::New => ("NEW", bold.yellow()),
        Status::Changed => ("CHANGED", bold.red()),
        Status::MalformedArguments => ("MALFORMED", bold.red()),
        Status::CacheFailure => ("CACHE", bold.magenta()),
        Status::PhaseFailure => ("PHASE", bold.red()),
        Status::Failed => ("FAIL", bold.red()),
        Status::Interrupted => ("STOPPED", bold.yellow()),
    }
}

/// The called tools, in order. Consecutive calls of one tool are shown once, with their number.
fn tools(case: &CaseResult) -> String {
    let Some(outcome) = case.outcome() else { return String::new() };
    let names = outcome.tool_names();
    let calls = names.chunk_by(|a, b| a == b).map(|row| match row {
        [name] => name.to_string(),
        row => format!("{} ×{}", row[0], row.len()),
    });
    let calls = calls.collect::<Vec<_>>().join(", ");
    if calls.is_empty() { "(no tool)".into() } else { calls }
}

/// The phase with its median TTFT, or a dash if no measurement of it is valid; `None` if it was not measured.
fn median_ttft(case: &CaseResult, phase: Phase) -> Option<String> {
    case.measurements.iter().find(|measurement| measurement.phase == phase)?;
    let valid = case.valid_measurements().filter(|measurement| measurement.phase == phase);
    let times = valid.filter_map(|measurement| measurement.ttft_us);
    let median = Distribution::of(times).median_us().map_or_else(|| "–".into(), duration);
    Some(format!("{phase} {median:>TIME_WIDTH$}"))
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

/// What is wrong with a trace; empty if it is as accepted.
pub(super) fn detail(case: &CaseResult, states: States) -> String {
    let mut out = String::new();
    if let Some(error) = &case.error {
        out.push_str(&format!("{error}\n"));
    }
    for failure in &case.phase_failures {
        out.push_str(&format!("phase failure: {failure}\n"));
    }
    if let Some(MalformedArguments { measurement, tool, arguments }) = &case.malformed_arguments {
        out.push_str(&format!(
            "malformed arguments: {tool} was called with what is no JSON object ({measurement})\n{arguments}\n"
        ));
    }
    for disagreement in &case.disagreements {
        out.push_str(&cache_failure(disagreement, states));
    }
    if let (Verdict::Changed { accepted }, Some(outcome)) = (&case.verdict, case.outcome()) {
        let old = format!("{} (accepted)", case.snapshot.display());
        let new =
            case.pending.as_ref().map_or_else(|| "this replay".into(), |pending| format!("{} (this replay)", pending.display()));
        out.push_str(&diff(Side { label: &old, text: &accepted.to_text() }, Side { label: &new, text: &outcome.to_text() }));
    }
    out
}

fn cache_failure(disagreement: &Disagreement, states: States) -> String {
    let Disagreement { first, other, first_outcome, other_outcome } = disagreement;
    let cause = match states {
        States::CacheControl => "one prompt, different tool calls: the backend's prefix cache or its decoding is wrong",
        States::Salt => "different tool calls; the prompts differed in their salts, which may be the cause instead of the cache",
    };
    let old = Side { label: &first.to_string(), text: &first_outcome.to_text() };
    let new = Side { label: &other.to_string(), text: &other_outcome.to_text() };
    format!("cache failure: {cause}\n{}", diff(old, new))
}

/// Latency tables and histograms, with notes on how to read them. Empty if nothing was measured.
pub fn latency(report: &Report) -> String {
    if report.latency.is_empty() {
        return String::new();
    }
    format!("\n{}{}", latency_tables(&report.latency), notes(report))
}

/// The last lines: fidelity, summary, next steps.
pub fn closing(report: &Report, policy: Policy) -> String {
    let fidelity = fidelity(&report.fidelity, report.settings.tool_choice);
    format!("\n{fidelity}{}{}", summary(&report.summary), next_steps(report, policy))
}

/// Notes on figures that are less certain than they look.
fn notes(report: &Report) -> String {
    let mut notes = Vec::new();
    if report.target.states == States::Salt {
        notes.push("The backend offers no cache control: cold and warm were made by salting the prompt's start; the tokens that its chat template puts before that stay cached.");
    }
    if report.latency.iter().any(|phase| phase.cache_hit_share.is_none()) {
        notes.push("UNVERIFIED: the backend reports no cache figures, so whether cold, warm and cached happened is not known.");
    }
    notes.iter().map(|note| format!("\n{}\n", style(note).yellow())).collect()
}

fn fidelity(share: &FidelityShare, mode: ToolChoiceMode) -> String {
    if share.compared == 0 {
        return String::new();
    }
    let of = |part: usize| format!("{part} of {} ({})", share.compared, percent(part as f64 / share.compared as f64));
    let forced = match mode {
        ToolChoiceMode::Recorded => " (the first tool was forced)",
        ToolChoiceMode::Auto | ToolChoiceMode::Any => "",
    };
    let what = format!("as recorded: same tools {}{forced}, same arguments {}", of(share.same_tools), of(share.same_arguments));
    status_line("Fidelity", Style::new().bold(), &what)
}

fn summary(summary: &ReplaySummary) -> String {
    let ReplaySummary {
        as_accepted,
        changed,
        new,
        updated,
        malformed_arguments,
        cache_failures,
        phase_failures,
        failed,
        interrupted,
        not_run,
        skipped,
        unreadable,
        without_trace,
    } = *summary;
    let replayed =
        as_accepted + changed + new + updated + malformed_arguments + cache_failures + phase_failures + failed + interrupted;
    let parts = [
        (changed, "changed".into()),
        (new, "new".into()),
        (updated, "updated".into()),
        (malformed_arguments, "with malformed arguments".into()),
        (cache_failures, plural(cache_failures, "cache failure")),
        (phase_failures, plural(phase_failures, "phase failure")),
        (failed, "failed".into()),
        (interrupted, "stopped".into()),
        (not_run, "not run".into()),
        (unreadable, "unreadable".into()),
        (without_trace, format!("{} without a trace", plural(without_trace, "snapshot"))),
        (skipped, "skipped (no answered Messages request)".into()),
    ];
    let mut text = format!("{}: {as_accepted} as accepted", count(replayed, "trace"));
    for (n, what) in parts.iter().filter(|(n, _)| *n > 0) {
        text.push_str(&format!(", {n} {what}"));
    }
    let style = if summary.exit_code() == 0 { Style::new().bold().green() } else { Style::new().bold().red() };
    status_line("Summary", style, &text)
}

fn plural(n: usize, noun: &str) -> String {
    if n == 1 { noun.into() } else { format!("{noun}s") }
}

/// What to do about the traces that are not as accepted. Empty if all are.
fn next_steps(report: &Report, policy: Policy) -> String {
    let pending = report.cases.iter().filter(|case| case.pending.is_some()).count();
    let ReplaySummary { changed, new, malformed_arguments, cache_failures, phase_failures, failed, without_trace, .. } =
        report.summary;
    let next = |what: &str| status_line("Next", Style::new().bold().cyan(), what);
    let mut out = String::new();
    if pending > 0 {
        out.push_str(&next(&format!("run `anyclaude review` to accept or reject {}", count(pending, "pending snapshot"))));
    } else if policy == Policy::Check && changed + new > 0 {
        out.push_str(&next(
            "replay on your machine so that outcomes wait for review, run `anyclaude review`, commit what you accept",
        ));
    }
    if without_trace > 0 {
        out.push_str(&next("bring back the traces of the snapshots that have none, or delete these snapshots"));
    }
    if malformed_arguments > 0 {
        out.push_str(&next("fix the server's tool calls: outcomes with malformed arguments were not written for review"));
    }
    if cache_failures > 0 {
        out.push_str(&next("fix the backend's cache: outcomes on which the phases disagree were not written for review"));
    }
    if phase_failures + failed > 0 {
        out.push_str(&next("fix what failed (reasons above) and replay again: its times are left out"));
    }
    out
}

#[cfg(test)]
mod tests;
