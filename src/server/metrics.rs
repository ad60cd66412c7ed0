//! The server's counters and histograms.

use std::fmt;

use prometheus::{Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use super::cache_metrics::CacheMetrics;
use super::registry::register;
use crate::wire::{Usage, percent_of, total_tokens};

/// Upper bounds of the latency buckets, in seconds: from a cached prefix on a GPU to a cold 40,000-token prompt on a CPU.
const SECONDS: [f64; 14] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// How an answer ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EndKind {
    Complete,
    ClientLeft,
    Failed,
}

impl EndKind {
    const ALL: [Self; 3] = [Self::Complete, Self::ClientLeft, Self::Failed];

    /// The value of the label `outcome`.
    fn label(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientLeft => "client_left",
            Self::Failed => "failed",
        }
    }
}

/// The metrics of one server, as `GET /metrics` shows them.
pub(crate) struct Metrics {
    registry: Registry,
    /// HTTP requests by matched route and status.
    pub requests: IntCounterVec,
    /// Messages requests whose answer has not ended.
    pub in_flight: IntGauge,
    /// Tool calls in answers.
    pub tool_calls: IntCounter,
    /// Seconds from the request to the first content event.
    pub ttft: Histogram,
    /// Seconds from the request to `message_stop`.
    pub e2e: Histogram,
    answers: IntCounterVec,
    input_tokens: IntCounter,
    cache_read_tokens: IntCounter,
    cache_creation_tokens: IntCounter,
    output_tokens: IntCounter,
    /// The numbers of the backend's prefix cache.
    pub cache: CacheMetrics,
}

/// Counts since a server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages requests whose answer has ended.
    pub requests: u64,
    /// All prompt tokens, cached or not.
    pub prompt_tokens: u64,
    /// Prompt tokens read from the prefix cache.
    pub cached_tokens: u64,
    /// Generated tokens.
    pub output_tokens: u64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { requests, prompt_tokens, cached_tokens, output_tokens } = self;
        let share = percent_of(*cached_tokens, *prompt_tokens);
        let noun = if *requests == 1 { "request" } else { "requests" };
        write!(f, "{requests} {noun}, {prompt_tokens} prompt tokens ({share}% from the cache), {output_tokens} output tokens")
    }
}

impl Metrics {
    /// Metrics at zero.
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let counter = |name, help| register(&registry, IntCounter::new(name, help));
        let seconds = |name, help| {
            let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
            register(&registry, Histogram::with_opts(options))
        };
        let counters = |name, help, labels: &[&str]| register(&registry, IntCounterVec::new(Opts::new(name, help), labels));
        Self {
            requests: counters("anyclaude_requests_total", "HTTP requests.", &["path", "status"]),
            in_flight: register(
                &registry,
                IntGauge::new("anyclaude_requests_in_flight", "Messages requests whose answer has not ended."),
            ),
            answers: counters("anyclaude_answers_total", "Answers that have ended, in whatever way.", &["outcome"]),
            tool_calls: counter("anyclaude_tool_calls_total", "Tool calls in answers."),
            input_tokens: counter("anyclaude_input_tokens_total", "Prompt tokens outside the prefix cache."),
            cache_read_tokens: counter("anyclaude_cache_read_input_tokens_total", "Prompt tokens read from the prefix cache."),
            cache_creation_tokens: counter(
                "anyclaude_cache_creation_input_tokens_total",
                "Prompt tokens written to the prefix cache.",
            ),
            output_tokens: counter("anyclaude_output_tokens_total", "Generated tokens."),
            ttft: seconds("anyclaude_ttft_seconds", "Request to first content event."),
            e2e: seconds("anyclaude_e2e_seconds", "Request to message_stop."),
            cache: CacheMetrics::new(&registry),
            registry,
        }
    }

    /// Counts one ended answer by its outcome, and its tokens.
    pub(crate) fn count_answer(&self, outcome: EndKind, usage: &Usage) {
        self.answers_with(outcome).inc();
        self.input_tokens.inc_by(usage.input_tokens);
        self.cache_read_tokens.inc_by(usage.cache_read_input_tokens.unwrap_or(0));
        self.cache_creation_tokens.inc_by(usage.cache_creation_input_tokens.unwrap_or(0));
        self.output_tokens.inc_by(usage.output_tokens);
    }

    fn answers_with(&self, outcome: EndKind) -> IntCounter {
        self.answers.with_label_values(&[outcome.label()])
    }

    /// The sums of all ended answers.
    pub(crate) fn totals(&self) -> Totals {
        let cached_tokens = self.cache_read_tokens.get();
        Totals {
            requests: EndKind::ALL.into_iter().map(|outcome| self.answers_with(outcome).get()).sum(),
            prompt_tokens: total_tokens([self.input_tokens.get(), self.cache_creation_tokens.get(), cached_tokens]),
            cached_tokens,
            output_tokens: self.output_tokens.get(),
        }
    }

    /// All metrics in Prometheus' text format.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::CacheReport;

    #[test]
    fn the_caches_numbers_are_shown_and_counters_do_not_fall() {
        let metrics = Metrics::new();
        for (hits, bytes) in [(3, 700), (5, 20), (4, 30)] {
            metrics.cache.show(&CacheReport { hits, bytes, ..CacheReport::default() });
        }
        let text = String::from_utf8(metrics.text()).unwrap();
        assert!(text.contains("\nanyclaude_cache_hits_total 5\n") && text.contains("\nanyclaude_cache_bytes 30\n"), "{text}");
    }

    /// A recording, or another server, may say any number.
    #[test]
    fn impossible_numbers_of_tokens_are_summed_up_too() {
        let metrics = Metrics::new();
        let usage = Usage { input_tokens: u64::MAX, cache_read_input_tokens: Some(u64::MAX), ..Usage::default() };
        metrics.count_answer(EndKind::Complete, &usage);
        let Totals { prompt_tokens, .. } = metrics.totals();
        assert_eq!((prompt_tokens, usage.prompt_tokens()), (u64::MAX, u64::MAX));
        assert!(metrics.totals().to_string().contains("(100% from the cache)"), "{}", metrics.totals());
    }

    #[test]
    fn totals_read_as_one_line() {
        let metrics = Metrics::new();
        assert_eq!(metrics.totals().to_string(), "0 requests, 0 prompt tokens (0% from the cache), 0 output tokens");
        metrics.count_answer(
            EndKind::Complete,
            &Usage {
                input_tokens: 10,
                cache_creation_input_tokens: Some(15),
                cache_read_input_tokens: Some(75),
                output_tokens: 4,
                ..Usage::default()
            },
        );
        assert_eq!(metrics.totals().to_string(), "1 request, 100 prompt tokens (75% from the cache), 4 output tokens");
    }
}
