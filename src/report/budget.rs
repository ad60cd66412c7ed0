//! Budgets of times, as the settings have them. Pure.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::parse_time;
use super::{Metric, Percentile, PhaseLatency};
use crate::replay::Phase;

/// The most that percentiles may be: by phase, metric and percentile, such as `cached.ttft.p50 = "500ms"`.
pub type Budgets = BTreeMap<Phase, BTreeMap<Metric, BTreeMap<Percentile, Budget>>>;

/// The most that a time may be. Written as a time, `500ms`, or as a share of the same figure of another phase, `0.2 * cold`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub enum Budget {
    /// In microseconds.
    Time(u64),
    /// A share of this phase's figure.
    Share(f64, Phase),
}

impl TryFrom<String> for Budget {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse(&text).ok_or_else(|| format!("{text:?} is no budget: write a time such as \"500ms\", or \"0.2 * cold\""))
    }
}

impl From<Budget> for String {
    fn from(budget: Budget) -> Self {
        match budget {
            Budget::Time(us) => format!("{us}us"),
            Budget::Share(share, phase) => format!("{share} * {phase}"),
        }
    }
}

fn parse(text: &str) -> Option<Budget> {
    let Some((share, phase)) = text.split_once('*') else {
        return Some(Budget::Time(parse_time(text)?.as_micros().try_into().ok()?));
    };
    let share = share.trim().parse().ok().filter(|share: &f64| share.is_finite() && *share > 0.0)?;
    Some(Budget::Share(share, Phase::ALL.into_iter().find(|known| known.name() == phase.trim())?))
}

/// A budget beside what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct BudgetResult {
    /// The phase.
    pub phase: Phase,
    /// The metric.
    pub metric: Metric,
    /// The percentile.
    pub percentile: Percentile,
    /// The most that it may be; `None` if the phase that it is a share of was not measured.
    pub limit_us: Option<u64>,
    /// What it is; `None` if it was not measured, or too seldom for this percentile.
    pub time_us: Option<u64>,
    /// How many times were measured.
    pub count: u64,
}

impl BudgetResult {
    /// Whether the time is over its budget; `None` if that cannot be told.
    pub fn is_over(&self) -> Option<bool> {
        Some(self.time_us? > self.limit_us?)
    }
}

/// Compares the figures with their budgets.
pub fn budget_results(budgets: &Budgets, latency: &[PhaseLatency]) -> Vec<BudgetResult> {
    let figure = |phase: Phase, metric: Metric, percentile: Percentile| {
        let latency = latency.iter().find(|latency| latency.phase == phase);
        let distribution = latency.map(|latency| latency.distribution(metric));
        (distribution.and_then(|d| d.percentile_us(percentile)), distribution.map_or(0, |d| d.count()))
    };
    let mut results = Vec::new();
    for (phase, metrics) in budgets {
        for (metric, percentiles) in metrics {
            for (percentile, budget) in percentiles {
                let (phase, metric, percentile) = (*phase, *metric, *percentile);
                let limit_us = match *budget {
                    Budget::Time(us) => Some(us),
                    Budget::Share(share, other) => figure(other, metric, percentile).0.map(|us| (us as f64 * share) as u64),
                };
                let (time_us, count) = figure(phase, metric, percentile);
                results.push(BudgetResult { phase, metric, percentile, limit_us, time_us, count });
            }
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::testing::{case_result, measurement};
    use crate::report::latencies;

    #[test]
    fn a_budget_is_a_time_or_a_share_of_another_phase() {
        let table = [
            ("500ms", Some(Budget::Time(500_000))),
            ("1.5 s", Some(Budget::Time(1_500_000))),
            ("20us", Some(Budget::Time(20))),
            ("0.2 * cold", Some(Budget::Share(0.2, Phase::Cold))),
            ("500", None),
            ("-1s", None),
            ("0.2 * tepid", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), expected, "{text}");
        }
        for budget in [Budget::Time(1234), Budget::Share(0.25, Phase::Warm)] {
            assert_eq!(Budget::try_from(String::from(budget)), Ok(budget));
        }
    }

    #[test]
    fn figures_are_compared_with_their_budgets() {
        let budgets: Budgets = toml::from_str(
            "cached.ttft.p50 = '5ms'\ncold.ttft.p50 = '2s'\nwarm.ttft.p50 = '0.2 * cold'\ncold.ttft.p99 = '2s'\ncached.e2e.p50 = '0.5 * warm'",
        )
        .unwrap();
        let measured = vec![measurement(Phase::Cold, 1000, Some(0)), measurement(Phase::Cached, 10, Some(999))];
        let results = budget_results(&budgets, &latencies(&[case_result(1, measured)]));
        let shown: Vec<_> = results.iter().map(|r| (r.phase, r.metric, r.percentile, r.is_over())).collect();
        assert_eq!(
            shown,
            [
                (Phase::Cold, Metric::Ttft, Percentile::P50, Some(false)),
                // One time carries no p99.
                (Phase::Cold, Metric::Ttft, Percentile::P99, None),
                // Warm was not measured.
                (Phase::Warm, Metric::Ttft, Percentile::P50, None),
                (Phase::Cached, Metric::Ttft, Percentile::P50, Some(true)),
                (Phase::Cached, Metric::E2e, Percentile::P50, None),
            ]
        );
    }
}
