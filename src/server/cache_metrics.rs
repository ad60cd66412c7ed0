//! The prefix cache's part of `GET /metrics`. The cache counts by itself; this shows its counts.

use prometheus::{Counter, Gauge, Registry};

use super::metrics::register;
use crate::backend::{CacheReport, DiskReport};

/// Where a number comes from.
type Value = fn(&CacheReport) -> f64;

/// Name, help and value.
type Source = (&'static str, &'static str, Value);

/// What only grows.
const COUNTERS: [Source; 10] = [
    ("anyclaude_cache_hits_total", "Prompts of which a prefix was cached.", |report| report.hits as f64),
    ("anyclaude_cache_misses_total", "Prompts of which nothing was cached.", |report| report.misses as f64),
    ("anyclaude_cache_evictions_total", "Runs of tokens forgotten to keep the limits.", |report| report.evictions as f64),
    ("anyclaude_cache_prompt_tokens_total", "Tokens of all prompts.", |report| report.prompt_tokens as f64),
    ("anyclaude_cache_saved_tokens_total", "Prompt tokens that were cached.", |report| report.saved_tokens as f64),
    ("anyclaude_cache_saved_seconds_total", "Time those would have taken.", |report| report.saved_seconds),
    ("anyclaude_prefilled_tokens_total", "Prompt tokens computed, for warm-ups too.", |report| report.computed_tokens as f64),
    ("anyclaude_cache_disk_hits_total", "Prompts for which something was read from the disk.", |report| disk(report).hits as f64),
    ("anyclaude_cache_disk_tokens_total", "Tokens read from the disk.", |report| disk(report).tokens as f64),
    ("anyclaude_cache_disk_dropped_total", "Files dropped: damaged, or of another model.", |report| disk(report).dropped as f64),
];

/// What goes up and down.
const GAUGES: [Source; 10] = [
    ("anyclaude_cache_entries", "Prompts kept.", |report| report.entries.len() as f64),
    ("anyclaude_cache_bytes", "Memory of the prefix cache.", |report| report.bytes as f64),
    ("anyclaude_cache_hit_ratio", "Hits among all prompts.", |report| report.hit_rate),
    ("anyclaude_cache_token_hit_ratio", "Cached tokens among all prompt tokens.", |report| report.token_hit_rate),
    ("anyclaude_cache_disk_entries", "Files of the prefix cache on disk.", |report| disk(report).entries as f64),
    ("anyclaude_cache_disk_bytes", "What they take.", |report| disk(report).bytes as f64),
    ("anyclaude_mlx_active_bytes", "Memory of MLX's arrays.", |report| report.memory.active_bytes as f64),
    ("anyclaude_mlx_cache_bytes", "Memory MLX holds ready.", |report| report.memory.cache_bytes as f64),
    ("anyclaude_mlx_peak_bytes", "The most that MLX's arrays took.", |report| report.memory.peak_bytes as f64),
    ("anyclaude_resident_bytes", "Resident memory of the process.", |report| report.memory.rss_bytes.unwrap_or(0) as f64),
];

fn disk(report: &CacheReport) -> DiskReport {
    report.disk.unwrap_or_default()
}

/// The cache's metrics.
pub struct CacheMetrics {
    counters: Vec<(Counter, Value)>,
    gauges: Vec<(Gauge, Value)>,
}

impl CacheMetrics {
    /// All at zero.
    pub fn new(registry: &Registry) -> Self {
        let counter = |(name, help, value): Source| (register(registry, Counter::new(name, help)), value);
        let gauge = |(name, help, value): Source| (register(registry, Gauge::new(name, help)), value);
        Self { counters: COUNTERS.map(counter).into(), gauges: GAUGES.map(gauge).into() }
    }

    /// Takes over the numbers of a report.
    pub fn show(&self, report: &CacheReport) {
        for (counter, value) in &self.counters {
            // A counter never falls; the time saved, which is an estimate, might.
            counter.inc_by((value(report) - counter.get()).max(0.0));
        }
        self.gauges.iter().for_each(|(gauge, value)| gauge.set(value(report)));
    }
}
