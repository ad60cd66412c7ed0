//! The table with a column for each backend, as data. Pure.

use super::NamedReport;
use crate::replay::{Phase, ReplaySummary};
use crate::report::table::{NONE, Table};
use crate::report::units::{duration, percent};
use crate::report::{Distribution, FidelityShare, Percentile, PhaseLatency, Report, States};

/// How many traces came to something.
type Count = fn(&ReplaySummary) -> usize;

/// What came of the traces, in the order in which it is shown.
const COUNTS: [(&str, Count); 10] = [
    ("changed", |summary| summary.changed),
    ("new", |summary| summary.new),
    ("malformed arguments", |summary| summary.malformed_arguments),
    ("flaky", |summary| summary.flaky),
    ("cache failures", |summary| summary.cache_failures),
    ("phase failures", |summary| summary.phase_failures),
    ("failed", |summary| summary.failed),
    ("stopped", |summary| summary.interrupted),
    ("not run", |summary| summary.not_run),
    ("unreadable", |summary| summary.unreadable),
];

/// Outcomes, fidelity, times and cache hits: a row for each figure that some backend has.
pub(in crate::report) fn figures(backends: &[NamedReport]) -> Table {
    let header = [String::new()].into_iter().chain(backends.iter().map(|backend| backend.name.clone())).collect();
    let row = |name: &str, cell: &dyn Fn(&Report) -> Option<String>| {
        let cells = backends.iter().map(|backend| cell(&backend.report).unwrap_or_else(|| NONE.into()));
        [name.to_owned()].into_iter().chain(cells).collect::<Vec<_>>()
    };
    let mut rows = vec![
        row("model", &|report| Some(report.target.model.clone())),
        row("as accepted", &|report| Some(share(report.summary.as_accepted, planned(report)))),
    ];
    for (name, count) in COUNTS {
        rows.push(row(name, &|report| Some(count(&report.summary)).filter(|n| *n > 0).map(|n| n.to_string())));
    }
    rows.push(row("same tools as recorded", &|report| recorded(report, |fidelity| fidelity.same_tools)));
    rows.push(row("same arguments as recorded", &|report| recorded(report, |fidelity| fidelity.same_arguments)));
    rows.push(row("fidelity, no tool forced", &|report| Some(format!("{:.2}", report.free_fidelity.as_ref()?.score?))));
    for phase in Phase::ALL {
        let of_phase = |what: &str| format!("{phase} {what}");
        let time = |metric: fn(&PhaseLatency) -> &Distribution, percentile: Percentile| {
            move |report: &Report| metric(of(report, phase)?).percentile_us(percentile).map(duration)
        };
        rows.push(row(&of_phase("TTFT p50"), &time(|latency| &latency.ttft, Percentile::P50)));
        rows.push(row(&of_phase("TTFT p90"), &time(|latency| &latency.ttft, Percentile::P90)));
        rows.push(row(&of_phase("TPOT p50"), &time(|latency| &latency.tpot, Percentile::P50)));
        rows.push(row(&of_phase("cache hits"), &|report| Some(percent(of(report, phase)?.cache_hit_share?))));
    }
    rows.retain(|row| row[1..].iter().any(|cell| cell != NONE));
    rows.push(row("cold and warm made by", &|report| Some(made_by(report.target.states).to_owned())));
    Table { header, rows, words: 1 }
}

fn of<'a>(report: &'a Report, phase: Phase) -> Option<&'a PhaseLatency> {
    report.latency.iter().find(|latency| latency.phase == phase)
}

fn planned(report: &Report) -> usize {
    report.cases.len() + report.summary.not_run
}

fn share(part: usize, of: usize) -> String {
    format!("{part} of {of}")
}

fn recorded(report: &Report, same: fn(&FidelityShare) -> usize) -> Option<String> {
    let fidelity = &report.fidelity;
    (fidelity.compared > 0).then(|| share(same(fidelity), fidelity.compared))
}

fn made_by(states: States) -> &'static str {
    match states {
        States::CacheControl => "its cache",
        States::Salt => "salts",
        States::NoCache => "nothing: no cache",
    }
}
