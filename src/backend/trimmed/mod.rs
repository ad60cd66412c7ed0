//! Trimmed prompts: the model gets fewer tools and shorter descriptions than the client sent.
//!
//! `rules` decides what is left out. This module applies the rules in front of a backend, `bodies` to request bodies that are
//! forwarded to another server. A trimmed backend offers no cache control: its callers would pass untrimmed prompts, which the
//! model never sees.

mod bodies;
mod rules;

use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;

use super::{Backend, BackendError, EventStream, ModelLimits};
use crate::wire::MessagesRequest;

pub use bodies::TrimmedBodies;
pub use rules::TrimRules;

/// A backend that gets trimmed prompts.
pub struct TrimmedBackend {
    inner: Arc<dyn Backend>,
    rules: TrimRules,
    /// The first request with tools, as the client sent it. The savings are computed from it.
    sample: OnceLock<MessagesRequest>,
}

/// What trimming saves on one request.
#[derive(Debug, PartialEq, Eq)]
pub struct TrimSavings {
    /// Tools as sent, and as trimmed.
    pub tools: (usize, usize),
    /// Prompt tokens as sent, and as trimmed.
    pub tokens: (u64, u64),
    /// Tools that the rules keep and the client does not have: probably misspelled.
    pub absent: Vec<String>,
}

impl TrimmedBackend {
    /// Applies the rules to every request before this backend gets it.
    pub fn new(inner: Arc<dyn Backend>, rules: TrimRules) -> Self {
        Self { inner, rules, sample: OnceLock::new() }
    }

    /// What is saved on the first request with tools. `None` if there was none, or if the backend cannot count tokens.
    pub async fn savings(&self) -> Option<TrimSavings> {
        let sent = self.sample.get()?.clone();
        let trimmed = self.rules.apply(sent.clone());
        let tools = (sent.tools.len(), trimmed.tools.len());
        let absent = self.rules.absent(&sent);
        let as_sent = self.inner.count_tokens(sent).await.ok()?;
        let as_trimmed = self.inner.count_tokens(trimmed).await.ok()?;
        Some(TrimSavings { tools, tokens: (as_sent, as_trimmed), absent })
    }
}

impl Backend for TrimmedBackend {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn model(&self) -> String {
        self.inner.model()
    }

    fn reports_logprobs(&self) -> bool {
        self.inner.reports_logprobs()
    }

    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        if !request.tools.is_empty() && self.sample.get().is_none() {
            // Fails if a concurrent request was faster, which makes as good a sample.
            self.sample.set(request.clone()).ok();
        }
        let sent = request.tools.len();
        let trimmed = self.rules.apply(request);
        tracing::debug!("prompt trimmed: {sent} tools to {}", trimmed.tools.len());
        self.inner.messages(trimmed)
    }

    fn count_tokens(&self, request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        self.inner.count_tokens(self.rules.apply(request))
    }

    fn limits(&self) -> BoxFuture<'_, ModelLimits> {
        self.inner.limits()
    }
}
