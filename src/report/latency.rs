//! Distributions, rates and ratios of the measurements, one set for each phase.

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::replay::{CaseResult, Measurement, Phase};
use crate::wire::total_tokens;

/// A percentile of a distribution. It takes a certain number of times to mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Percentile {
    /// The median.
    P50,
    /// Of ten times, one is as long or longer.
    P90,
    /// Of twenty times, one is as long or longer.
    P95,
    /// Of a hundred times, one is as long or longer.
    P99,
}

impl Percentile {
    /// The percentiles that are shown.
    pub const ALL: [Self; 4] = [Self::P50, Self::P90, Self::P95, Self::P99];

    /// The percentile's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }

    /// The fewest times for which it means something: of fewer, it is just the longest.
    pub fn least_count(self) -> u64 {
        match self {
            Self::P50 => 1,
            Self::P90 => 10,
            Self::P95 => 20,
            Self::P99 => 100,
        }
    }

    fn percent(self) -> f64 {
        match self {
            Self::P50 => 50.0,
            Self::P90 => 90.0,
            Self::P95 => 95.0,
            Self::P99 => 99.0,
        }
    }
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// From sending the request to the first content event.
    Ttft,
    /// Per output token after the first, one number for each answer.
    Tpot,
    /// Between content events, each of which may bring several tokens.
    Gap,
    /// From sending the request to `message_stop`.
    E2e,
}

impl Metric {
    /// All metrics, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Ttft, Self::Tpot, Self::Gap, Self::E2e];

    /// The metric's name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttft => "TTFT",
            Self::Tpot => "TPOT",
            Self::Gap => "gap",
            Self::E2e => "E2E",
        }
    }
}

/// A day. Longer times count as one day.
const LONGEST_US: u64 = 24 * 3600 * 1_000_000;

/// The figures of one phase, over the valid measurements of all cases.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PhaseLatency {
    /// The phase.
    pub phase: Phase,
    /// Times from sending the request to the first content event.
    pub ttft: Distribution,
    /// Times per output token after the first, one for each answer.
    pub tpot: Distribution,
    /// Times between content events, each of which may bring several tokens.
    pub gap: Distribution,
    /// Times from sending the request to `message_stop`.
    pub e2e: Distribution,
    /// Prompt tokens not read from the cache, divided by their TTFT; `None` if they are too few to tell.
    pub prefill_tokens_per_s: Option<f64>,
    /// Tokens after the first, divided by the time from the first content event to the end.
    pub decode_tokens_per_s: Option<f64>,
    /// Share of the prompt tokens that was read from the cache, from 0 to 1; `None` if the backend does not report it.
    pub cache_hit_share: Option<f64>,
    /// Median TTFT divided by the median TTFT of cold; `None` unless both were measured.
    pub ttft_to_cold: Option<f64>,
}

/// The fewest computed prompt tokens from which a speed is worked out. With fewer, TTFT consists mostly of other things.
const LEAST_PREFILL: u64 = 64;

/// A distribution of times: to three significant digits, its ends exactly.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(with = "DistributionSummary")]
pub struct Distribution {
    histogram: Histogram<u64>,
    /// The shortest and the longest time; `None` if there are no times.
    range_us: Option<(u64, u64)>,
}

/// The figures of the phases that have valid measurements, in the order of [`Phase::ALL`].
pub fn latencies(cases: &[CaseResult]) -> Vec<PhaseLatency> {
    let of_phase = |phase: Phase| -> Vec<&Measurement> {
        let valid = cases.iter().flat_map(CaseResult::valid_measurements);
        valid.filter(|measurement| measurement.phase == phase).collect()
    };
    let measured = Phase::ALL.into_iter().map(|phase| (phase, of_phase(phase)));
    let measured = measured.filter(|(_, measurements)| !measurements.is_empty());
    let mut phases: Vec<_> = measured.map(|(phase, measurements)| PhaseLatency::of(phase, &measurements)).collect();
    let cold_us = phases.iter().find(|p| p.phase == Phase::Cold).and_then(|cold| cold.ttft.median_us());
    for phase in &mut phases {
        phase.ttft_to_cold = phase.ttft.median_us().zip(cold_us).and_then(|(median, cold)| ratio(median as f64, cold as f64));
    }
    phases
}

impl PhaseLatency {
    fn of(phase: Phase, measurements: &[&Measurement]) -> Self {
        Self {
            phase,
            ttft: Distribution::of(measurements.iter().filter_map(|m| m.ttft_us)),
            tpot: Distribution::of(measurements.iter().filter_map(|m| m.tpot_us())),
            gap: Distribution::of(measurements.iter().flat_map(|m| m.gap_us.iter().copied())),
            e2e: Distribution::of(measurements.iter().map(|m| m.e2e_us)),
            prefill_tokens_per_s: rate(measurements, |m| {
                let computed = m.prompt_tokens.saturating_sub(m.cache_read_tokens.unwrap_or(0));
                (computed >= LEAST_PREFILL).then_some((computed, m.ttft_us?))
            }),
            decode_tokens_per_s: rate(measurements, |m| {
                Some((m.output_tokens.checked_sub(1)?, m.e2e_us.saturating_sub(m.ttft_us?)))
            }),
            cache_hit_share: cache_hit_share(measurements),
            ttft_to_cold: None,
        }
    }

    /// The times of this metric.
    pub fn distribution(&self, metric: Metric) -> &Distribution {
        match metric {
            Metric::Ttft => &self.ttft,
            Metric::Tpot => &self.tpot,
            Metric::Gap => &self.gap,
            Metric::E2e => &self.e2e,
        }
    }

    /// The distributions with their metrics.
    pub fn distributions(&self) -> [(Metric, &Distribution); 4] {
        Metric::ALL.map(|metric| (metric, self.distribution(metric)))
    }
}

/// Tokens per second over all measurements together. `figures` gives a measurement's tokens and microseconds.
fn rate(measurements: &[&Measurement], figures: impl Fn(&Measurement) -> Option<(u64, u64)>) -> Option<f64> {
    let sum = |(tokens, us): (u64, u64), (more_tokens, more_us)| (tokens.saturating_add(more_tokens), us.saturating_add(more_us));
    let (tokens, us) = measurements.iter().filter_map(|m| figures(m)).reduce(sum)?;
    ratio(tokens as f64, us as f64 / 1e6)
}

fn cache_hit_share(measurements: &[&Measurement]) -> Option<f64> {
    let read = total_tokens(measurements.iter().map(|m| m.cache_read_tokens).collect::<Option<Vec<_>>>()?);
    ratio(read as f64, total_tokens(measurements.iter().map(|m| m.prompt_tokens)) as f64)
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

impl Distribution {
    /// The distribution of these times, in microseconds.
    pub fn of(times_us: impl Iterator<Item = u64>) -> Self {
        // These constants are valid: low is at least 1, high at least twice that, and there are at most 5 digits.
        let mut histogram = Histogram::new_with_bounds(1, LONGEST_US, 3).expect("constant bounds are valid");
        let mut range_us: Option<(u64, u64)> = None;
        for us in times_us {
            histogram.saturating_record(us);
            range_us = Some(range_us.map_or((us, us), |(min, max)| (min.min(us), max.max(us))));
        }
        Self { histogram, range_us }
    }

    /// The distribution with these counts of times, and with these ends.
    pub(super) fn of_counts(counts: &[(u64, u64)], range_us: Option<(u64, u64)>) -> Self {
        let mut distribution = Self::of(std::iter::empty());
        for (us, count) in counts {
            distribution.histogram.saturating_record_n(*us, *count);
        }
        Self { range_us, ..distribution }
    }

    /// Both together.
    pub(super) fn added(&self, other: &Self) -> Self {
        let mut histogram = self.histogram.clone();
        // Both have the same bounds, so every value of one fits into the other.
        histogram += &other.histogram;
        let ranges = [self.range_us, other.range_us].into_iter().flatten();
        let range_us = ranges.reduce(|(low, high), (min, max)| (low.min(min), high.max(max)));
        Self { histogram, range_us }
    }

    /// The number of times.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The shortest and the longest time; `None` if there are no times.
    pub fn range_us(&self) -> Option<(u64, u64)> {
        self.range_us
    }

    /// The median; `None` if there are no times.
    pub fn median_us(&self) -> Option<u64> {
        self.percentile_us(Percentile::P50)
    }

    /// A percentile; `None` if the times are too few to carry it.
    pub fn percentile_us(&self, percentile: Percentile) -> Option<u64> {
        // The histogram gives the highest value of a bucket, which may be beyond the longest time.
        let (min, max) = self.range_us.filter(|_| self.count() >= percentile.least_count())?;
        Some(self.histogram.value_at_percentile(percentile.percent()).clamp(min, max))
    }

    /// How it is written.
    pub(super) fn summary(&self) -> DistributionSummary {
        let (min_us, max_us) = self.range_us.unzip();
        let [p50_us, p90_us, p95_us, p99_us] = Percentile::ALL.map(|percentile| self.percentile_us(percentile));
        DistributionSummary { count: self.count(), min_us, p50_us, p90_us, p95_us, p99_us, max_us }
    }

    /// The histogram itself, in microseconds.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }
}

/// How a distribution is written: a percentile that its times do not carry is null.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct DistributionSummary {
    /// The number of times.
    count: u64,
    pub min_us: Option<u64>,
    p50_us: Option<u64>,
    p90_us: Option<u64>,
    p95_us: Option<u64>,
    p99_us: Option<u64>,
    pub max_us: Option<u64>,
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.summary().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::testing::{case_result, measurement};

    #[test]
    fn rates_shares_and_ratios_come_from_all_measurements_together() {
        let cold = |ttft_ms| measurement(Phase::Cold, ttft_ms, Some(0));
        let cases = [
            case_result(1, vec![cold(1000), measurement(Phase::Cached, 10, Some(990))]),
            case_result(2, vec![cold(3000), measurement(Phase::Cached, 30, Some(990))]),
        ];
        let phases = latencies(&cases);
        let [cold, cached] = &phases[..] else { panic!("{phases:?}") };
        assert_eq!(cold.prefill_tokens_per_s, Some(500.0));
        // 10 tokens, so 9 after the first, in 100 ms.
        assert_eq!(cold.decode_tokens_per_s, Some(90.0));
        assert_eq!((cold.cache_hit_share, cached.cache_hit_share), (Some(0.0), Some(0.99)));
        // The median of two is the lower one.
        assert_eq!(cached.ttft_to_cold, Some(cached.ttft.median_us().unwrap() as f64 / cold.ttft.median_us().unwrap() as f64));
        assert_eq!(cold.ttft.range_us(), Some((1_000_000, 3_000_000)));
    }

    #[test]
    fn one_measurement_without_cache_figures_leaves_the_share_unknown() {
        let cases = [case_result(1, vec![measurement(Phase::Cold, 10, Some(0)), measurement(Phase::Cold, 10, None)])];
        assert_eq!(latencies(&cases)[0].cache_hit_share, None);
    }

    #[test]
    fn a_measurement_whose_phase_did_not_happen_does_not_count() {
        let mut bad = case_result(1, vec![measurement(Phase::Cold, 10, Some(500)), measurement(Phase::Cached, 10, Some(990))]);
        bad.phase_failures = crate::replay::check(&bad.measurements, 0);
        let phases = latencies(&[bad]);
        assert_eq!(phases.iter().map(|phase| phase.phase).collect::<Vec<_>>(), [Phase::Cached]);
        assert_eq!(phases[0].ttft_to_cold, None);
    }

    #[test]
    fn an_empty_distribution_has_no_percentiles() {
        let empty = Distribution::of(std::iter::empty());
        assert_eq!((empty.count(), empty.range_us(), empty.median_us()), (0, None, None));
    }

    #[test]
    fn a_percentile_needs_the_times_that_carry_it() {
        let carried = |count: u64| {
            let times = Distribution::of((1..=count).map(|ms| ms * 1000));
            Percentile::ALL.map(|percentile| times.percentile_us(percentile).is_some())
        };
        assert_eq!(carried(9), [true, false, false, false]);
        assert_eq!(carried(19), [true, true, false, false]);
        assert_eq!(carried(99), [true, true, true, false]);
        assert_eq!(carried(100), [true; 4]);
    }

    /// A server may send several tokens in one event, so the gaps say nothing of its speed.
    #[test]
    fn time_per_token_does_not_depend_on_the_events() {
        let one_event = Measurement { gap_us: vec![], ..measurement(Phase::Cold, 10, None) };
        // 9 tokens after the first in 100 ms.
        assert_eq!((one_event.tpot_us(), measurement(Phase::Cold, 10, None).tpot_us()), (Some(11_111), Some(11_111)));
        assert_eq!(Measurement { output_tokens: 1, ..one_event }.tpot_us(), None);
    }

    #[test]
    fn percentiles_stay_within_the_times() {
        let one = Distribution::of([12_345_678].into_iter());
        assert_eq!((one.range_us(), one.median_us()), (Some((12_345_678, 12_345_678)), Some(12_345_678)));
        let many = Distribution::of((1..=1000).map(|ms| ms * 1000));
        let [p50, p90, p95, p99] = Percentile::ALL.map(|percentile| many.percentile_us(percentile).unwrap() as f64 / 1e6);
        for (found, expected) in [(p50, 0.5), (p90, 0.9), (p95, 0.95), (p99, 0.99)] {
            assert!((found - expected).abs() < 0.001, "{found} is not {expected}");
        }
    }
}
