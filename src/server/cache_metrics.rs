//! The prefix cache's part of `GET /metrics`. The cache counts by itself; this copies its counts.

use prometheus::{Counter, Gauge, Registry};

use super::registry::register;
use crate::backend::{CacheReport, DiskReport};

/// A metric's number in a report.
type ReadNumber = fn(&CacheReport) -> f64;

/// A metric's name, its help text and its number.
type CacheMetric = (&'static str, &'static str, ReadNumber);

/// Numbers that only grow.
const COUNTERS: [CacheMetric; 10] = [
    ("anyclaude_cache_hits_total", "Prompts of which a prefix was cached.", |report| report.hits as f64),
    ("anyclaude_cache_misses_total", "Prompts of which nothing was cached.", |report| report.misses as f64),
    ("anyclaude_cache_evictions_total", "Segments dropped to keep the limits.", |report| report.evictions as f64),
    ("anyclaude_cache_prompt_tokens_total", "Tokens of all prompts.", |report| report.prompt_tokens as f64),
    ("anyclaude_cache_saved_tokens_total", "Prompt tokens that were cached.", |report| report.saved_tokens as f64),
    ("anyclaude_cache_saved_seconds_total", "Estimated time to compute those.", |report| report.saved_seconds),
    ("anyclaude_prefilled_tokens_total", "Prompt tokens computed, including warm-ups.", |report| report.computed_tokens as f64),
    ("anyclaude_cache_disk_hits_total", "Prompts for which something was read from the disk.", |report| disk(report).hits as f64),
    ("anyclaude_cache_disk_tokens_total", "Tokens read from the disk.", |report| disk(report).tokens as f64),
    ("anyclaude_cache_disk_dropped_total", "Files removed because they were damaged or of another model.", |report| {
        disk(report).dropped as f64
    }),
];

/// Numbers that go up and down.
const GAUGES: [CacheMetric; 10] = [
    ("anyclaude_cache_entries", "Cached prompts.", |report| report.entries.len() as f64),
    ("anyclaude_cache_bytes", "Memory of the prefix cache.", |report| report.bytes as f64),
    ("anyclaude_cache_hit_ratio", "Hits among all prompts.", |report| report.hit_rate),
    ("anyclaude_cache_token_hit_ratio", "Cached tokens among all prompt tokens.", |report| report.token_hit_rate),
    ("anyclaude_cache_disk_entries", "Files of the prefix cache on disk.", |report| disk(report).entries as f64),
    ("anyclaude_cache_disk_bytes", "Size of those files.", |report| disk(report).bytes as f64),
    ("anyclaude_mlx_active_bytes", "Memory of MLX's arrays.", |report| report.memory.active_bytes as f64),
    ("anyclaude_mlx_cache_bytes", "Memory that MLX keeps for reuse.", |report| report.memory.cache_bytes as f64),
    ("anyclaude_mlx_peak_bytes", "The most memory that MLX's arrays took.", |report| report.memory.peak_bytes as f64),
    ("anyclaude_resident_bytes", "Resident memory of the process.", |report| report.memory.rss_bytes.unwrap_or(0) as f64),
];

fn disk(report: &CacheReport) -> DiskReport {
    report.disk.unwrap_or_default()
}

/// The cache's metrics.
pub(crate) struct CacheMetrics {
    counters: Vec<(Counter, ReadNumber)>,
    gauges: Vec<(Gauge, ReadNumber)>,
}

impl CacheMetrics {
    /// Registers the metrics, all at zero.
    pub(crate) fn new(registry: &Registry) -> Self {
        let counter = |(name, help, reading): CacheMetric| (register(registry, Counter::new(name, help)), reading);
        let gauge = |(name, help, reading): CacheMetric| (register(registry, Gauge::new(name, help)), reading);
        Self { counters: COUNTERS.map(counter).into(), gauges: GAUGES.map(gauge).into() }
    }

    /// Copies the numbers of a report.
    pub(crate) fn show(&self, report: &CacheReport) {
        for (counter, reading) in &self.counters {
            // A counter must not fall. The saved time might: it is an estimate.
            counter.inc_by((reading(report) - counter.get()).max(0.0));
        }
        self.gauges.iter().for_each(|(gauge, reading)| gauge.set(reading(report)));
    }
}
