//! Distributions, rates and ratios of the measurements, one set for each phase.

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};

use crate::replay::{CaseResult, Measurement, Phase};

/// The percentiles that are shown.
const PERCENTILES: [f64; 4] = [50.0, 90.0, 95.0, 99.0];

/// A day. Longer times count as one day.
const LONGEST_US: u64 = 24 * 3600 * 1_000_000;

/// The figures of one phase, over the valid measurements of all cases.
#[derive(Debug, Serialize)]
pub struct PhaseLatency {
    /// The phase.
    pub phase: Phase,
    /// Times from sending the request to the first content event.
    pub ttft: Distribution,
    /// Times between content events.
    pub itl: Distribution,
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
#[derive(Debug)]
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
            itl: Distribution::of(measurements.iter().flat_map(|m| m.itl_us.iter().copied())),
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

    /// The distributions with their names.
    pub fn distributions(&self) -> [(&'static str, &Distribution); 3] {
        [("TTFT", &self.ttft), ("ITL", &self.itl), ("E2E", &self.e2e)]
    }
}

/// Tokens per second over all measurements together. `figures` gives a measurement's tokens and microseconds.
fn rate(measurements: &[&Measurement], figures: impl Fn(&Measurement) -> Option<(u64, u64)>) -> Option<f64> {
    let sum = |(tokens, us): (u64, u64), (more_tokens, more_us)| (tokens + more_tokens, us + more_us);
    let (tokens, us) = measurements.iter().filter_map(|m| figures(m)).reduce(sum)?;
    ratio(tokens as f64, us as f64 / 1e6)
}

fn cache_hit_share(measurements: &[&Measurement]) -> Option<f64> {
    let read: Option<u64> = measurements.iter().map(|m| m.cache_read_tokens).sum();
    ratio(read? as f64, measurements.iter().map(|m| m.prompt_tokens).sum::<u64>() as f64)
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
        self.percentiles_us().map(|[median, ..]| median)
    }

    /// p50, p90, p95 and p99; `None` if there are no times.
    pub fn percentiles_us(&self) -> Option<[u64; 4]> {
        // The histogram gives the highest value of a bucket, which may be beyond the longest time.
        let (min, max) = self.range_us?;
        Some(PERCENTILES.map(|percentile| self.histogram.value_at_percentile(percentile).clamp(min, max)))
    }

    /// The histogram itself, in microseconds.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct DistributionSummary {
            count: u64,
            min_us: Option<u64>,
            p50_us: Option<u64>,
            p90_us: Option<u64>,
            p95_us: Option<u64>,
            p99_us: Option<u64>,
            max_us: Option<u64>,
        }
        let (min_us, max_us) = self.range_us.unzip();
        let [p50_us, p90_us, p95_us, p99_us] = self.percentiles_us().map_or([None; 4], |p| p.map(Some));
        DistributionSummary { count: self.count(), min_us, p50_us, p90_us, p95_us, p99_us, max_us }.serialize(serializer)
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
        assert_eq!((empty.count(), empty.range_us(), empty.percentiles_us()), (0, None, None));
    }

    #[test]
    fn percentiles_stay_within_the_times() {
        let one = Distribution::of([12_345_678].into_iter());
        assert_eq!((one.range_us(), one.percentiles_us()), (Some((12_345_678, 12_345_678)), Some([12_345_678; 4])));
        let many = Distribution::of((1..=1000).map(|ms| ms * 1000));
        let [p50, p90, p95, p99] = many.percentiles_us().unwrap().map(|us| us as f64 / 1e6);
        for (found, expected) in [(p50, 0.5), (p90, 0.9), (p95, 0.95), (p99, 0.99)] {
            assert!((found - expected).abs() < 0.001, "{found} is not {expected}");
        }
    }
}
