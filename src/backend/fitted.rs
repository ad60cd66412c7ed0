//! A backend behind which the model sees a smaller prompt than the client sent: fewer tools, shorter descriptions.
//!
//! Owns when the rules are applied; what they do is `rules`'. The prefix cache of the backend behind it cannot be controlled
//! through it: what a caller would warm is not what the model sees.

mod bodies;
mod rules;

use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;

use super::{Backend, BackendError, EventStream};
use crate::wire::MessagesRequest;

pub use bodies::FittedBodies;
pub use rules::Fitting;

/// A backend with a fitting before it.
pub struct FittedBackend {
    inner: Arc<dyn Backend>,
    fitting: Fitting,
    /// The first request that had tools, as the client sent it: what the savings are told of.
    sample: OnceLock<MessagesRequest>,
}

/// What the fitting saves on one request.
#[derive(Debug, PartialEq, Eq)]
pub struct Savings {
    /// Tools sent, and left.
    pub tools: (usize, usize),
    /// Prompt tokens as sent, and as fitted.
    pub tokens: (u64, u64),
    /// Tools that were to be kept and that the client does not have.
    pub absent: Vec<String>,
}

impl FittedBackend {
    /// Applies the fitting to every request before this backend gets it.
    pub fn new(inner: Arc<dyn Backend>, fitting: Fitting) -> Self {
        Self { inner, fitting, sample: OnceLock::new() }
    }

    /// What it saves on the first request that had tools. `None` where none came, or where the backend cannot count tokens.
    pub async fn savings(&self) -> Option<Savings> {
        let sent = self.sample.get()?.clone();
        let fitted = self.fitting.apply(sent.clone());
        let tools = (sent.tools.len(), fitted.tools.len());
        let absent = self.fitting.absent(&sent);
        let as_sent = self.inner.count_tokens(sent).await.ok()?;
        let as_fitted = self.inner.count_tokens(fitted).await.ok()?;
        Some(Savings { tools, tokens: (as_sent, as_fitted), absent })
    }
}

impl Backend for FittedBackend {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn model(&self) -> String {
        self.inner.model()
    }

    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        if !request.tools.is_empty() && self.sample.get().is_none() {
            // Fails where another request was first, which is as good.
            self.sample.set(request.clone()).ok();
        }
        let sent = request.tools.len();
        let fitted = self.fitting.apply(request);
        tracing::debug!("prompt fitted: {sent} tools to {}", fitted.tools.len());
        self.inner.messages(fitted)
    }

    fn count_tokens(&self, request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        self.inner.count_tokens(self.fitting.apply(request))
    }
}
