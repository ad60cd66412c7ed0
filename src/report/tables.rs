//! Latency on a terminal: tables and text histograms.

use console::style;
use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Padding, Style};

use super::table::{NONE, Table, fidelity, percentiles, rates, speeds};
use super::units::duration;
use super::{Comparison, Distribution, FreeFidelitySummary, PhaseLatency};

/// The most rows that a text histogram has.
const HISTOGRAM_ROWS: u64 = 8;
/// Length of its longest bar, in characters.
const HISTOGRAM_BAR: u64 = 40;

/// A table of percentiles and one of rates.
pub(super) fn latency_tables(phases: &[PhaseLatency]) -> String {
    format!("{}\n{}", as_text(percentiles(phases)), as_text(rates(phases)))
}

/// A TTFT histogram for each phase.
pub(super) fn ttft_histograms(phases: &[PhaseLatency]) -> String {
    phases.iter().map(ttft_histogram).collect::<Vec<_>>().join("\n")
}

/// How the figures compare with those of an earlier replay.
pub(super) fn speed_table(comparison: &Comparison) -> String {
    as_text(speeds(comparison))
}

/// How near the free answers' calls come to the recorded ones.
pub(super) fn fidelity_table(summary: &FreeFidelitySummary) -> String {
    as_text(fidelity(summary))
}

pub(super) fn as_text(Table { header, rows, words }: Table) -> String {
    let mut table = Builder::from_iter([header].into_iter().chain(rows)).build();
    table.with(Style::empty()).with(Padding::new(2, 1, 0, 0));
    table.modify(Columns::new(words..), Alignment::right());
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
