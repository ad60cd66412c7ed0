//! The figures of two replays side by side, of the traces that both measured. Pure.

use std::collections::{HashMap, HashSet};

use super::run::RunMeasurement;
use super::{FinishedRun, RunCase};
use crate::replay::Phase;
use crate::report::table::{NONE, Table};
use crate::report::units::{duration, number, percent};
use crate::report::{Distribution, Percentile};
use crate::wire::total_tokens;

/// A time of a measurement.
type Time = fn(&RunMeasurement) -> Option<u64>;

/// The times that are compared.
const TIMES: [(&str, Time, Percentile); 4] = [
    ("TTFT p50", |one| one.ttft_us, Percentile::P50),
    ("TTFT p90", |one| one.ttft_us, Percentile::P90),
    ("TPOT p50", RunMeasurement::tpot_us, Percentile::P50),
    ("TPOT p90", RunMeasurement::tpot_us, Percentile::P90),
];

/// A row for each figure that one of them has.
pub(super) fn figures(before: &FinishedRun, now: &FinishedRun) -> Table {
    let mut rows = Vec::new();
    for phase in Phase::ALL {
        let both = measured_by_both(before, now, phase);
        let [before, now] = [before, now].map(|run| valid(run, phase, &both));
        for (name, time, percentile) in TIMES {
            let [before, now] =
                [&before, &now].map(|all| Distribution::of(all.iter().copied().filter_map(time)).percentile_us(percentile));
            let ratio = before.zip(now).filter(|(before, _)| *before > 0).map(|(before, now)| now as f64 / before as f64);
            let ratio = ratio.map(|ratio| format!("{}x", number(ratio)));
            rows.push([Some(format!("{phase} {name}")), before.map(duration), now.map(duration), ratio]);
        }
        let [before, now] = [&before, &now].map(|all| cache_hits(all));
        rows.push([Some(format!("{phase} cache hits")), before.map(percent), now.map(percent), None]);
    }
    rows.retain(|[_, before, now, _]| before.is_some() || now.is_some());
    let rows = rows.into_iter().map(|row| row.map(|cell| cell.unwrap_or_else(|| NONE.into())).into()).collect();
    Table { header: ["", "A", "B", "B to A"].map(str::to_owned).into(), rows, words: 1 }
}

/// The traces of which both have a valid measurement of this phase: times of other traces are not comparable.
fn measured_by_both<'a>(before: &'a FinishedRun, now: &'a FinishedRun, phase: Phase) -> HashSet<&'a str> {
    let there: HashMap<&str, &RunCase> = now.cases.iter().map(|case| (case.id.as_str(), case)).collect();
    let has = |case: &RunCase| case.valid(phase).next().is_some();
    let both = before.cases.iter().filter(|case| has(case) && there.get(case.id.as_str()).is_some_and(|case| has(case)));
    both.map(|case| case.id.as_str()).collect()
}

fn valid<'a>(run: &'a FinishedRun, phase: Phase, of: &HashSet<&str>) -> Vec<&'a RunMeasurement> {
    run.cases.iter().filter(|case| of.contains(case.id.as_str())).flat_map(|case| case.valid(phase)).collect()
}

/// The share of the prompt tokens that was read from the cache; `None` if that is not known of all.
fn cache_hits(measurements: &[&RunMeasurement]) -> Option<f64> {
    let read = total_tokens(measurements.iter().map(|one| one.cache_read_tokens).collect::<Option<Vec<_>>>()?);
    let all = total_tokens(measurements.iter().map(|one| one.prompt_tokens));
    (all > 0).then(|| read as f64 / all as f64)
}
