//! What a launch took and what the prefix cache saved, summed up from the recorder's notices.

use std::fmt;

use crate::cli::text::count;
use crate::record::{Notice, Recorded};
use crate::server::Totals;
use crate::trace::ExchangeOutcome;
use crate::wire::{Endpoint, total_tokens};

/// Prompts of which fewer tokens were computed say nothing about the speed: their TTFT is mostly connecting and queueing.
const MEASURABLE_TOKENS: u64 = 1_000;

/// Sums over the Messages requests of a launch.
#[derive(Debug, Default)]
pub(super) struct LaunchSummary {
    totals: Totals,
    /// Requests that got an error, or an answer that broke off.
    failed: usize,
    /// Answers without token counts.
    uncounted: usize,
    prefill: Prefill,
    /// The time that the engine's cache saved by its own account, in seconds.
    saved_s: Option<f64>,
}

/// Prompt tokens that were computed, and the TTFT that they took.
#[derive(Debug, Default)]
struct Prefill {
    tokens: u64,
    ttft_us: u64,
}

impl LaunchSummary {
    /// Counts what a notice says of an answer.
    pub(super) fn take(&mut self, notice: &Notice) {
        let Notice::Recorded(recorded) = notice else { return };
        if is_messages(recorded) && recorded.outcome == ExchangeOutcome::UpstreamError {
            self.failed += 1;
        }
        let Some(usage) = &recorded.usage else { return };
        let (prompt_tokens, cached_tokens) = (usage.prompt_tokens(), usage.cache_read_input_tokens.unwrap_or(0));
        self.totals.requests += 1;
        self.totals.prompt_tokens = total_tokens([self.totals.prompt_tokens, prompt_tokens]);
        self.totals.cached_tokens = total_tokens([self.totals.cached_tokens, cached_tokens]);
        self.totals.output_tokens = total_tokens([self.totals.output_tokens, usage.output_tokens]);
        // No prompt is empty: without prompt tokens, nothing was counted.
        self.uncounted += usize::from(prompt_tokens == 0);
        let computed = prompt_tokens.saturating_sub(cached_tokens);
        if let (Some(ttft_us), MEASURABLE_TOKENS..) = (recorded.ttft_us, computed) {
            self.prefill.tokens = total_tokens([self.prefill.tokens, computed]);
            self.prefill.ttft_us += ttft_us;
        }
    }

    /// With the time that the engine's cache saved, which it measures better than the connection shows.
    pub(super) fn with_saved_seconds(self, saved_s: Option<f64>) -> Self {
        Self { saved_s, ..self }
    }

    /// The time saved, in seconds: by the engine's account, else estimated as the cached tokens at the speed of the computed
    /// ones. `None` if no speed was measured.
    fn saved_seconds(&self) -> Option<f64> {
        let Prefill { tokens, ttft_us } = self.prefill;
        let estimated = || (tokens > 0).then(|| self.totals.cached_tokens as f64 * ttft_us as f64 / 1e6 / tokens as f64);
        self.saved_s.or_else(estimated)
    }
}

fn is_messages(recorded: &Recorded) -> bool {
    Endpoint::of_path(&recorded.path) == Endpoint::Messages
}

impl fmt::Display for LaunchSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.totals.fmt(f)?;
        if let (Some(saved_s), 1..) = (self.saved_seconds(), self.totals.cached_tokens) {
            write!(f, ", about {saved_s:.1} s saved")?;
        }
        if self.failed > 0 {
            write!(f, "; {} failed", count(self.failed, "request"))?;
        }
        if self.uncounted > 0 {
            write!(f, "; {} came without token counts", count(self.uncounted, "answer"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ExchangeName;
    use crate::wire::Usage;

    /// An answer that came after a second.
    fn answer(path: &str, outcome: ExchangeOutcome, usage: Option<Usage>) -> Notice {
        Notice::Recorded(Recorded {
            exchange: ExchangeName { session: "s".into(), seq: 1 },
            model: None,
            method: "POST".into(),
            path: path.into(),
            status: 200,
            events: 1,
            ttft_us: Some(1_000_000),
            e2e_us: Some(2_000_000),
            outcome,
            usage,
        })
    }

    fn usage(input_tokens: u64, cached: u64) -> Option<Usage> {
        Some(Usage { input_tokens, cache_read_input_tokens: Some(cached), output_tokens: 5, ..Usage::default() })
    }

    fn summary(answers: &[Notice]) -> LaunchSummary {
        let mut summary = LaunchSummary::default();
        answers.iter().for_each(|answer| summary.take(answer));
        summary
    }

    #[test]
    fn the_time_saved_is_that_of_the_cached_tokens_at_the_speed_of_the_others() {
        let complete = |usage| answer("/v1/messages?beta=true", ExchangeOutcome::Complete, usage);
        let cold = summary(&[complete(usage(4_000, 0))]);
        insta::assert_snapshot!(cold, @"1 request, 4000 prompt tokens (0% from the cache), 5 output tokens");
        let followed = summary(&[complete(usage(4_000, 0)), complete(usage(10, 4_000)), complete(usage(20, 4_010))]);
        insta::assert_snapshot!(followed, @"3 requests, 12040 prompt tokens (66% from the cache), 15 output tokens, about 2.0 s saved");
        // No prompt was long enough to measure the speed.
        let unknown = summary(&[complete(usage(10, 4_000))]);
        insta::assert_snapshot!(unknown, @"1 request, 4010 prompt tokens (99% from the cache), 5 output tokens");
        let measured = unknown.with_saved_seconds(Some(7.25));
        insta::assert_snapshot!(measured, @"1 request, 4010 prompt tokens (99% from the cache), 5 output tokens, about 7.2 s saved");
    }

    #[test]
    fn failed_requests_and_answers_without_counts_are_said() {
        let answers = summary(&[
            answer("/v1/messages", ExchangeOutcome::UpstreamError, None),
            answer("/v1/messages", ExchangeOutcome::Complete, Some(Usage::default())),
            answer("/v1/messages/count_tokens", ExchangeOutcome::UpstreamError, None),
        ]);
        insta::assert_snapshot!(answers, @"1 request, 0 prompt tokens (0% from the cache), 0 output tokens; 1 request failed; 1 answer came without token counts");
    }
}
