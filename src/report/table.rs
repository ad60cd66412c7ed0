//! The tables of times as data, which the terminal, the job's summary and the page render each in its own way. Pure.

use super::units::{duration, number, percent};
use super::{Comparison, FreeFidelitySummary, Percentile, PhaseLatency, Speed, SpeedVerdict, ToolFidelity};

/// Stands for a missing figure.
pub(super) const NONE: &str = "–";

/// A table: its first columns are words, the others figures.
pub(super) struct Table {
    /// What each column is.
    pub header: Vec<String>,
    /// A cell for each column.
    pub rows: Vec<Vec<String>>,
    /// How many columns are words.
    pub words: usize,
}

/// The percentiles of each phase and metric.
pub(super) fn percentiles(phases: &[PhaseLatency]) -> Table {
    let mut rows = Vec::new();
    for phase in phases {
        for (metric, distribution) in phase.distributions() {
            let mut row = vec![phase.phase.to_string(), metric.name().into(), distribution.count().to_string()];
            let (min, max) = distribution.range_us().unzip();
            let percentiles = Percentile::ALL.map(|percentile| distribution.percentile_us(percentile));
            let times = [min].into_iter().chain(percentiles).chain([max]);
            row.extend(times.map(|us| us.map_or_else(|| NONE.into(), duration)));
            rows.push(row);
        }
    }
    let header = words(&["phase", "metric", "count", "min", "p50", "p90", "p95", "p99", "max"]);
    Table { header, rows, words: 2 }
}

/// The rates and ratios of each phase.
pub(super) fn rates(phases: &[PhaseLatency]) -> Table {
    let figure = |value: Option<f64>, text: fn(f64) -> String| value.map_or_else(|| NONE.into(), text);
    let row = |phase: &PhaseLatency| {
        vec![
            phase.phase.to_string(),
            figure(phase.prefill_tokens_per_s, number),
            figure(phase.decode_tokens_per_s, number),
            figure(phase.cache_hit_share, percent),
            figure(phase.ttft_to_cold, |ratio| format!("{}x", number(ratio))),
        ]
    };
    let header = words(&["phase", "prefill tok/s", "decode tok/s", "cache hits", "TTFT to cold"]);
    Table { header, rows: phases.iter().map(row).collect(), words: 1 }
}

/// How the figures compare with those of an earlier replay.
pub(super) fn speeds(comparison: &Comparison) -> Table {
    let row = |speed: &Speed| {
        let Speed { phase, metric, ratio, low, high, repeats, verdict, .. } = speed;
        vec![
            phase.to_string(),
            metric.name().into(),
            format!("{ratio:.2}x"),
            format!("{low:.2} to {high:.2}"),
            repeats.to_string(),
            verdict_text(*verdict),
        ]
    };
    let header = words(&["phase", "metric", "to baseline", "95% interval", "repeats", "verdict"]);
    Table { header, rows: comparison.speeds.iter().map(row).collect(), words: 2 }
}

/// How near the free answers' calls come to the recorded ones, for each tool.
pub(super) fn fidelity(summary: &FreeFidelitySummary) -> Table {
    let row = |(name, tool): (&String, &ToolFidelity)| {
        let ToolFidelity { recorded, same_tool, added, invalid, arguments, same_type, same_value } = tool;
        let of = |part: &usize, whole: &usize| format!("{part} of {whole}");
        vec![
            name.clone(),
            of(same_tool, recorded),
            of(same_type, arguments),
            of(same_value, arguments),
            added.to_string(),
            invalid.to_string(),
        ]
    };
    let header = words(&["tool", "called as recorded", "arguments' types", "arguments' values", "added", "invalid"]);
    Table { header, rows: summary.tools.iter().map(row).collect(), words: 1 }
}

fn words(header: &[&str]) -> Vec<String> {
    header.iter().map(|word| word.to_string()).collect()
}

fn verdict_text(verdict: SpeedVerdict) -> String {
    match verdict {
        SpeedVerdict::Unlimited => "no limit".into(),
        SpeedVerdict::TooFewRepeats => "no verdict: it takes 5 repeats on both sides".into(),
        SpeedVerdict::WithinLimit => "ok".into(),
        SpeedVerdict::Slower => "slower".into(),
        SpeedVerdict::Undecided { more_repeats } => format!("not decided, about {more_repeats} more repeats would do"),
    }
}
