//! Measuring one answer: tokens, TTFT, time to its end, and how it ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::metrics::{EndKind, Metrics};
use super::observe::RequestId;
use crate::backend::BackendError;
use crate::wire::{ContentBlock, StreamEvent, Usage};

/// Sees the events of one answer. Counts and logs them when it is dropped, so however the answer ends.
pub(crate) struct Meter {
    metrics: Arc<Metrics>,
    id: RequestId,
    started: Instant,
    ttft: Option<Duration>,
    usage: Usage,
    end: AnswerEnd,
}

/// How an answer ended.
enum AnswerEnd {
    /// The client did not wait for the end.
    ClientLeft,
    /// With this error.
    Failed(String),
    /// With `message_stop`.
    Complete,
}

impl Meter {
    /// Starts the clock.
    pub(crate) fn start(metrics: Arc<Metrics>, id: RequestId) -> Self {
        metrics.in_flight.inc();
        Self { metrics, id, started: Instant::now(), ttft: None, usage: Usage::default(), end: AnswerEnd::ClientLeft }
    }

    /// Notes an event.
    pub(crate) fn see(&mut self, event: &StreamEvent) {
        if event.is_content() && self.ttft.is_none() {
            self.ttft = Some(self.started.elapsed());
        }
        match event {
            StreamEvent::MessageStart { message } => self.usage = message.usage.clone(),
            StreamEvent::ContentBlockStart { content_block: ContentBlock::ToolUse { .. }, .. } => self.metrics.tool_calls.inc(),
            StreamEvent::MessageDelta { usage, .. } => self.usage.merge(usage),
            StreamEvent::MessageStop => self.end = AnswerEnd::Complete,
            _ => {}
        }
    }

    /// Notes that the answer ended with an error.
    pub(crate) fn failed(&mut self, error: &BackendError) {
        self.end = AnswerEnd::Failed(error.to_string());
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let e2e = self.started.elapsed();
        self.metrics.in_flight.dec();
        if let Some(ttft) = self.ttft {
            self.metrics.ttft.observe(ttft.as_secs_f64());
        }
        let (outcome, end) = match &self.end {
            AnswerEnd::Complete => {
                self.metrics.e2e.observe(e2e.as_secs_f64());
                (EndKind::Complete, "complete")
            }
            AnswerEnd::ClientLeft => (EndKind::ClientLeft, "the client left"),
            AnswerEnd::Failed(reason) => (EndKind::Failed, reason.as_str()),
        };
        self.metrics.count_answer(outcome, &self.usage);
        tracing::info!(
            id = %self.id,
            end,
            ttft_ms = self.ttft.map(|ttft| ttft.as_millis()),
            e2e_ms = e2e.as_millis(),
            input_tokens = self.usage.prompt_tokens(),
            cached_tokens = self.usage.cache_read_input_tokens.unwrap_or(0),
            output_tokens = self.usage.output_tokens,
            "answered"
        );
    }
}
