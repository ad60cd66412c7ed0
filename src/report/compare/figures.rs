//! The figures of two replays side by side, of the traces that both measured. Pure.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::Serialize;

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
const TIMES: [(FigureName, Time, Percentile); 4] = [
    (FigureName::TtftP50Us, |one| one.ttft_us, Percentile::P50),
    (FigureName::TtftP90Us, |one| one.ttft_us, Percentile::P90),
    (FigureName::TpotP50Us, RunMeasurement::tpot_us, Percentile::P50),
    (FigureName::TpotP90Us, RunMeasurement::tpot_us, Percentile::P90),
];

/// A figure of both replays, of the traces that both measured in this phase.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RunFigure {
    /// The state of the prefix cache.
    pub phase: Phase,
    /// Which figure it is.
    pub name: FigureName,
    /// That of A; null if A has none, or the number of times does not carry it.
    pub a: Option<f64>,
    /// That of B.
    pub b: Option<f64>,
    /// Of times: B as a multiple of A.
    pub ratio: Option<f64>,
}

/// Which figure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FigureName {
    /// The median of TTFT, in microseconds.
    TtftP50Us,
    /// TTFT within which nine of ten are, in microseconds.
    TtftP90Us,
    /// The median of TPOT, in microseconds.
    TpotP50Us,
    /// TPOT within which nine of ten are, in microseconds.
    TpotP90Us,
    /// The share of the prompt tokens that was read from the cache, from 0 to 1.
    CacheHitShare,
}

impl FigureName {
    /// How people see it.
    fn title(self) -> &'static str {
        match self {
            Self::TtftP50Us => "TTFT p50",
            Self::TtftP90Us => "TTFT p90",
            Self::TpotP50Us => "TPOT p50",
            Self::TpotP90Us => "TPOT p90",
            Self::CacheHitShare => "cache hits",
        }
    }

    /// A figure with its unit.
    fn shown(self, figure: f64) -> String {
        match self {
            Self::CacheHitShare => percent(figure),
            Self::TtftP50Us | Self::TtftP90Us | Self::TpotP50Us | Self::TpotP90Us => duration(figure as u64),
        }
    }
}

/// The figures as a table.
pub(super) fn table(figures: &[RunFigure]) -> Table {
    let row = |figure: &RunFigure| {
        let [a, b] = [figure.a, figure.b].map(|one| one.map(|one| figure.name.shown(one)));
        let ratio = figure.ratio.map(|ratio| format!("{}x", number(ratio)));
        let cells = [a, b, ratio].map(|cell| cell.unwrap_or_else(|| NONE.into()));
        [format!("{} {}", figure.phase, figure.name.title())].into_iter().chain(cells).collect()
    };
    Table { header: ["", "A", "B", "B to A"].map(str::to_owned).into(), rows: figures.iter().map(row).collect(), words: 1 }
}

/// Each figure that one of them has.
pub(super) fn figures(before: &FinishedRun, now: &FinishedRun) -> Vec<RunFigure> {
    let mut figures = Vec::new();
    for phase in Phase::ALL {
        let both = measured_by_both(before, now, phase);
        let [before, now] = [before, now].map(|run| valid(run, phase, &both));
        for (name, time, percentile) in TIMES {
            let [before, now] =
                [&before, &now].map(|all| Distribution::of(all.iter().copied().filter_map(time)).percentile_us(percentile));
            // A double holds every number of microseconds below 285 years.
            let [a, b] = [before, now].map(|us| us.map(|us| us as f64));
            let ratio = a.zip(b).filter(|(a, _)| *a > 0.0).map(|(a, b)| b / a);
            figures.push(RunFigure { phase, name, a, b, ratio });
        }
        let [a, b] = [&before, &now].map(|all| cache_hits(all));
        figures.push(RunFigure { phase, name: FigureName::CacheHitShare, a, b, ratio: None });
    }
    figures.retain(|figure| figure.a.is_some() || figure.b.is_some());
    figures
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
