//! HdrHistogram's percentile text, which its plotter reads.

use super::Distribution;

/// Rows for each halving of the distance to 100%. This is HdrHistogram's default.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Buckets within each power of two, for three significant digits: the first power of two that is at least 2 * 10^3.
const SUB_BUCKETS: u32 = 2048;

/// Values are recorded in microseconds and written in milliseconds.
const US_PER_MS: f64 = 1000.0;

/// The percentile distribution; values in milliseconds.
///
/// ```
/// use anyclaude::report::{Distribution, hgrm::to_hgrm};
///
/// let times = Distribution::of([900, 1_000, 1_100, 9_000].into_iter());
/// assert_eq!((times.count(), times.median_us(), times.range_us()), (4, Some(1_000), Some((900, 9_000))));
/// assert!(to_hgrm(&times).ends_with("SubBuckets     =         2048]\n"));
/// ```
pub fn to_hgrm(distribution: &Distribution) -> String {
    let histogram = distribution.histogram();
    let mut out = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut total = 0;
    for row in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total += row.count_since_last_iteration();
        let (value_ms, quantile) = (row.value_iterated_to() as f64 / US_PER_MS, row.quantile_iterated_to());
        out.push_str(&format!("{value_ms:12.3} {quantile:2.12} {total:10}"));
        // The last row is at 100%, which has no inverse.
        if quantile < 1.0 {
            out.push_str(&format!(" {:14.2}", 1.0 / (1.0 - quantile)));
        }
        out.push('\n');
    }
    let (mean_ms, stdev_ms, max_ms) =
        (histogram.mean() / US_PER_MS, histogram.stdev() / US_PER_MS, histogram.max() as f64 / US_PER_MS);
    out.push_str(&format!("#[Mean    = {mean_ms:12.3}, StdDeviation   = {stdev_ms:12.3}]\n"));
    out.push_str(&format!("#[Max     = {max_ms:12.3}, Total count    = {:12}]\n", histogram.len()));
    out.push_str(&format!("#[Buckets = {:12}, SubBuckets     = {SUB_BUCKETS:12}]\n", histogram.buckets()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_the_plotter_reads() {
        let times = [1_000, 2_000, 2_000, 3_000, 50_000];
        insta::assert_snapshot!(to_hgrm(&Distribution::of(times.into_iter())));
    }
}
