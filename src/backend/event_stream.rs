//! The events of one answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use super::BackendError;
use crate::wire::StreamEvent;

type Events = Pin<Box<dyn Stream<Item = Result<StreamEvent, BackendError>> + Send>>;

/// The events of one answer, as they are generated. Dropping the stream cancels the request.
pub struct EventStream {
    events: Events,
    /// The schemas of tools and output formats that the answer is held to only in part, each with what was left out.
    pub loosened: Vec<String>,
}

impl EventStream {
    /// These events, of an answer that is held to all that was asked.
    pub fn new(events: impl Stream<Item = Result<StreamEvent, BackendError>> + Send + 'static) -> Self {
        Self { events: Box::pin(events), loosened: Vec::new() }
    }

    /// The same events, of an answer for which these schemas were loosened.
    pub fn with_loosened(self, loosened: Vec<String>) -> Self {
        Self { loosened, ..self }
    }
}

impl Stream for EventStream {
    type Item = Result<StreamEvent, BackendError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.as_mut().poll_next(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.events.size_hint()
    }
}
