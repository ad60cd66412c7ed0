//! How certain a ratio of medians is: the interval that chance alone explains, by resampling. Pure, and the same each time.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How many resamples are drawn.
const DRAWS: usize = 1000;
/// The same numbers give the same interval on every machine.
const SEED: u64 = 7;
/// The share of draws that lies within the interval.
const WITHIN: f64 = 0.95;

/// The times of one trace in one phase, before and now. Neither is empty.
pub(super) struct ComparedTimes {
    pub before: Vec<u64>,
    pub now: Vec<u64>,
}

/// A ratio of now to before, with the ends of its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub ratio: f64,
    pub low: f64,
    pub high: f64,
}

/// The geometric mean of the traces' ratios of medians. `None` without traces.
///
/// Only the repeats are resampled, those of each trace among themselves. The traces are not: somebody chose them, so they are no
/// random sample of others.
pub(super) fn interval(traces: &[ComparedTimes]) -> Option<Interval> {
    let ratio = mean_log(traces.iter().map(|times| log_ratio(&times.before, &times.now)))?;
    let mut random = StdRng::seed_from_u64(SEED);
    let (mut draws, mut drawn): (Vec<f64>, Vec<u64>) = (Vec::with_capacity(DRAWS), Vec::new());
    for _ in 0..DRAWS {
        let ratios = traces.iter().map(|times| {
            let before = redrawn_median(&times.before, &mut random, &mut drawn);
            redrawn_median(&times.now, &mut random, &mut drawn).ln() - before.ln()
        });
        draws.extend(mean_log(ratios));
    }
    draws.sort_by(f64::total_cmp);
    let at = |share: f64| draws[((draws.len() - 1) as f64 * share).round() as usize].exp();
    Some(Interval { ratio: ratio.exp(), low: at((1.0 - WITHIN) / 2.0), high: at((1.0 + WITHIN) / 2.0) })
}

/// The ratio of the medians.
pub(super) fn ratio(before: &[u64], now: &[u64]) -> f64 {
    log_ratio(before, now).exp()
}

fn log_ratio(before: &[u64], now: &[u64]) -> f64 {
    median(now).ln() - median(before).ln()
}

/// The median, and at least one microsecond, so that ratios exist.
fn median(times: &[u64]) -> f64 {
    middle(&mut times.to_vec())
}

/// The same of times that may be put in order.
fn middle(times: &mut [u64]) -> f64 {
    times.sort_unstable();
    let (low, high) = (times[(times.len() - 1) / 2], times[times.len() / 2]);
    ((low + high) as f64 / 2.0).max(1.0)
}

/// The median of as many times, drawn anew. `drawn` is room for them: a thousand draws of a thousand traces would fill many vectors.
fn redrawn_median(times: &[u64], random: &mut StdRng, drawn: &mut Vec<u64>) -> f64 {
    drawn.clear();
    drawn.extend(times.iter().map(|_| times[random.random_range(0..times.len())]));
    middle(drawn)
}

fn mean_log(logs: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let n = logs.len();
    (n > 0).then(|| logs.sum::<f64>() / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times around this one, in microseconds, a little apart.
    fn around(us: u64, repeats: u64) -> Vec<u64> {
        (0..repeats).map(|nth| us + us * ((nth * 7) % 5) / 100).collect()
    }

    fn times(now_us: u64) -> Vec<ComparedTimes> {
        [1, 2, 3].map(|n| ComparedTimes { before: around(n * 100_000, 10), now: around(n * now_us, 10) }).into()
    }

    #[test]
    fn the_interval_holds_the_ratio_and_nothing_else_where_times_are_steady() {
        for (now, expected) in [(100_000, 1.0), (120_000, 1.2), (50_000, 0.5)] {
            let Interval { ratio, low, high } = interval(&times(now)).unwrap();
            assert!((ratio - expected).abs() < 0.001, "{ratio}");
            assert!(low <= ratio && ratio <= high && high - low < 0.06, "{low} {ratio} {high}");
        }
    }

    #[test]
    fn fewer_and_wilder_times_make_it_wide_and_it_is_the_same_each_time() {
        let wild = || vec![ComparedTimes { before: vec![100, 300, 200, 900, 150], now: vec![120, 700, 200, 350, 100] }];
        let found = interval(&wild()).unwrap();
        assert!(found.low < 0.5 && found.high > 1.5, "{found:?}");
        assert_eq!(interval(&wild()), Some(found));
        assert_eq!(interval(&[]), None);
    }
}
