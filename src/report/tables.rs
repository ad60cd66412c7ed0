//! Latency as tables and text histograms.

use console::style;
use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Padding, Style};

use super::units::{duration, number, percent};
use super::{Comparison, Distribution, Percentile, PhaseLatency, Speed, SpeedVerdict};

/// The most rows that a text histogram has.
const HISTOGRAM_ROWS: u64 = 8;
/// Length of its longest bar, in characters.
const HISTOGRAM_BAR: u64 = 40;

/// Stands for a missing figure.
const NONE: &str = "–";

/// A table of percentiles, one of rates, and a TTFT histogram for each phase.
pub(super) fn latency_tables(phases: &[PhaseLatency]) -> String {
    let histograms = phases.iter().map(ttft_histogram).collect::<Vec<_>>().join("\n");
    format!("{}\n{}\n{histograms}", percentiles(phases), rates(phases))
}

fn percentiles(phases: &[PhaseLatency]) -> String {
    let mut rows = vec![["phase", "metric", "count", "min", "p50", "p90", "p95", "p99", "max"].map(String::from).to_vec()];
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
    table(rows, 2)
}

fn rates(phases: &[PhaseLatency]) -> String {
    let mut rows = vec![["phase", "prefill tok/s", "decode tok/s", "cache hits", "TTFT to cold"].map(String::from).to_vec()];
    let figure = |value: Option<f64>, text: fn(f64) -> String| value.map_or_else(|| NONE.into(), text);
    for phase in phases {
        rows.push(vec![
            phase.phase.to_string(),
            figure(phase.prefill_tokens_per_s, number),
            figure(phase.decode_tokens_per_s, number),
            figure(phase.cache_hit_share, percent),
            figure(phase.ttft_to_cold, |ratio| format!("{}x", number(ratio))),
        ]);
    }
    table(rows, 1)
}

/// How the figures compare with those of an earlier replay.
pub(super) fn speed_table(comparison: &Comparison) -> String {
    let header = ["phase", "metric", "to baseline", "95% interval", "repeats", "verdict"];
    let mut rows = vec![header.map(String::from).to_vec()];
    for speed in &comparison.speeds {
        let Speed { phase, metric, ratio, low, high, repeats, verdict, .. } = speed;
        rows.push(vec![
            phase.to_string(),
            metric.name().into(),
            format!("{ratio:.2}x"),
            format!("{low:.2} to {high:.2}"),
            repeats.to_string(),
            verdict_text(*verdict),
        ]);
    }
    table(rows, 2)
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

/// A table whose first row is its header. The first `left` columns are words, the others figures.
fn table(rows: Vec<Vec<String>>, left: usize) -> String {
    let mut table = Builder::from_iter(rows).build();
    table.with(Style::empty()).with(Padding::new(2, 1, 0, 0));
    table.modify(Columns::new(left..), Alignment::right());
    let lines = table.to_string();
    let mut lines = lines.lines().map(str::trim_end);
    let header = lines.next().unwrap_or_default();
    let body: String = lines.map(|line| format!("{line}\n")).collect();
    format!("{}\n{body}", style(header).bold())
}

fn ttft_histogram(phase: &PhaseLatency) -> String {
    let title = style(format!("  TTFT, {}", phase.phase)).bold();
    format!("{title}\n{}", bars(&phase.ttft))
}

/// A histogram with ranges of equal width between the shortest and the longest time.
fn bars(distribution: &Distribution) -> String {
    let Some((min, max)) = distribution.range_us() else { return format!("    {NONE}\n") };
    let width = (max - min + 1).div_ceil(HISTOGRAM_ROWS);
    let rows = (max - min) / width + 1;
    let mut counts = vec![0; rows as usize];
    for bucket in distribution.histogram().iter_recorded() {
        let row = bucket.value_iterated_to().clamp(min, max) - min;
        counts[(row / width) as usize] += bucket.count_at_value();
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let row = |(index, count): (usize, &u64)| {
        let low = min + index as u64 * width;
        let bar = "█".repeat((count * HISTOGRAM_BAR).div_ceil(most) as usize);
        format!("    {:>8} to {:>8}  {count:>4} {bar}", duration(low), duration((low + width - 1).min(max)))
            .trim_end()
            .to_string()
            + "\n"
    };
    counts.iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars_of(times_us: &[u64]) -> String {
        bars(&Distribution::of(times_us.iter().copied()))
    }

    #[test]
    fn a_histogram_has_a_row_for_each_range() {
        insta::assert_snapshot!(bars_of(&[1000, 1010, 1020, 1200, 1400, 1790]), @r"
        1.00 ms to  1.10 ms     3 ████████████████████████████████████████
        1.10 ms to  1.20 ms     0
        1.20 ms to  1.30 ms     1 ██████████████
        1.30 ms to  1.40 ms     0
        1.40 ms to  1.49 ms     1 ██████████████
        1.50 ms to  1.59 ms     0
        1.59 ms to  1.69 ms     0
        1.69 ms to  1.79 ms     1 ██████████████
        ");
    }

    #[test]
    fn one_value_is_one_row_and_none_is_said() {
        insta::assert_snapshot!(bars_of(&[1500, 1500]), @"     1.50 ms to  1.50 ms     2 ████████████████████████████████████████");
        assert_eq!(bars_of(&[]), "    –\n");
    }
}
