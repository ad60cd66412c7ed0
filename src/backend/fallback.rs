//! Several backends as one: if one is down or overloaded, the next one is asked.
//!
//! Only before the first event of an answer: what a client has seen cannot be taken back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::{BoxFuture, join_all};
use futures::{StreamExt, stream};

use super::{Backend, BackendError, EventStream, ModelLimits};
use crate::wire::{ErrorKind, MessagesRequest};

/// A chain of backends.
pub struct FallbackBackend {
    /// In the order in which they are asked.
    chain: Vec<Link>,
}

struct Link {
    backend: Arc<dyn Backend>,
    /// How many Messages requests it answered.
    answers: AtomicU64,
}

impl FallbackBackend {
    /// A chain of these backends, the preferred one first.
    pub fn new(backends: Vec<Arc<dyn Backend>>) -> Self {
        Self { chain: backends.into_iter().map(|backend| Link { backend, answers: AtomicU64::new(0) }).collect() }
    }

    /// Each backend's name and the number of Messages requests it answered, in the chain's order.
    pub fn answered(&self) -> Vec<(String, u64)> {
        self.chain.iter().map(|link| (link.backend.name(), link.answers.load(Ordering::Relaxed))).collect()
    }

    async fn ask(&self, request: MessagesRequest) -> Result<EventStream, BackendError> {
        let mut failed = empty_chain();
        for link in &self.chain {
            match first_event(link.backend.as_ref(), request.clone()).await {
                Ok(events) => {
                    link.answers.fetch_add(1, Ordering::Relaxed);
                    return Ok(events);
                }
                Err(error) => failed = recoverable(link, error)?,
            }
        }
        Err(failed)
    }

    async fn count(&self, request: MessagesRequest) -> Result<u64, BackendError> {
        let mut failed = empty_chain();
        for link in &self.chain {
            match link.backend.count_tokens(request.clone()).await {
                Ok(tokens) => return Ok(tokens),
                Err(error) => failed = recoverable(link, error)?,
            }
        }
        Err(failed)
    }
}

/// An answer whose first event has already come.
async fn first_event(backend: &dyn Backend, request: MessagesRequest) -> Result<EventStream, BackendError> {
    let mut events = backend.messages(request).await?;
    match events.next().await {
        Some(Err(error)) => Err(error),
        first => {
            let loosened = std::mem::take(&mut events.loosened);
            Ok(EventStream::new(stream::iter(first).chain(events)).with_loosened(loosened))
        }
    }
}

/// `Ok` if the next backend may succeed where this one failed, `Err` if the error lies in the request.
fn recoverable(link: &Link, error: BackendError) -> Result<BackendError, BackendError> {
    let is_recoverable = match &error {
        BackendError::Unreachable { .. }
        | BackendError::Unusable { .. }
        | BackendError::Protocol { .. }
        | BackendError::BrokenOff => true,
        BackendError::Answered { status, .. } => *status == 429 || *status >= 500,
    };
    if !is_recoverable {
        return Err(error);
    }
    tracing::warn!(backend = link.backend.name(), %error, "no answer: asking the next backend, if there is one");
    Ok(error)
}

fn empty_chain() -> BackendError {
    BackendError::new(ErrorKind::Api, "there is no backend to ask")
}

impl Backend for FallbackBackend {
    fn name(&self) -> String {
        self.chain.iter().map(|link| link.backend.name()).collect::<Vec<_>>().join(", then ")
    }

    /// The model of the preferred backend.
    fn model(&self) -> String {
        self.chain.first().map_or_else(|| "none".into(), |link| link.backend.model())
    }

    fn reports_logprobs(&self) -> bool {
        self.chain.iter().all(|link| link.backend.reports_logprobs())
    }

    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        Box::pin(self.ask(request))
    }

    fn count_tokens(&self, request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        Box::pin(self.count(request))
    }

    /// Those that hold whichever backend answers.
    fn limits(&self) -> BoxFuture<'_, ModelLimits> {
        Box::pin(async {
            let limits = join_all(self.chain.iter().map(|link| link.backend.limits())).await;
            limits.into_iter().fold(ModelLimits::default(), ModelLimits::of_either)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Protocol;
    use super::*;
    use crate::wire::{Message, StreamEvent, Usage};

    /// What a fake backend does on every request.
    #[derive(Clone, Copy)]
    enum Does {
        Answer,
        Refuse(u16),
        Unreachable,
        /// Sends something else than its protocol.
        Babble,
        /// An error as the first event.
        FailFirst,
        /// An error after the first event.
        FailLater,
    }

    struct Fake(&'static str, Does);

    impl Fake {
        fn error(&self, status: u16) -> BackendError {
            let body = crate::wire::ErrorBody::new(ErrorKind::Api, self.0);
            BackendError::Answered { status, body, retry_after: None }
        }
    }

    impl Backend for Fake {
        fn name(&self) -> String {
            self.0.into()
        }

        fn model(&self) -> String {
            self.0.into()
        }

        fn messages(&self, _: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
            let start = StreamEvent::MessageStart { message: Message::empty("msg", self.0, Usage::default()) };
            let events = match self.1 {
                Does::Answer => Ok(vec![Ok(start), Ok(StreamEvent::MessageStop)]),
                Does::Refuse(status) => Err(self.error(status)),
                Does::Unreachable => Err(BackendError::Unreachable { address: self.0.into(), reason: "refused".into() }),
                Does::Babble => {
                    let (address, reason) = (self.0.into(), "HTML".into());
                    Err(BackendError::Protocol { protocol: Protocol::ChatCompletions, address, reason })
                }
                Does::FailFirst => Ok(vec![Err(self.error(529))]),
                Does::FailLater => Ok(vec![Ok(start), Err(self.error(529))]),
            };
            Box::pin(async move { events.map(|events| EventStream::new(stream::iter(events))) })
        }

        fn count_tokens(&self, _: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
            let count = match self.1 {
                Does::Refuse(status) => Err(self.error(status)),
                _ => Ok(self.0.len() as u64),
            };
            Box::pin(async move { count })
        }
    }

    fn request() -> MessagesRequest {
        serde_json::from_value(serde_json::json!({"model": "m", "max_tokens": 1, "messages": []})).unwrap()
    }

    fn chain(first: Does, second: Does) -> FallbackBackend {
        FallbackBackend::new(vec![Arc::new(Fake("first", first)), Arc::new(Fake("second", second))])
    }

    #[tokio::test]
    async fn the_next_backend_is_asked_if_one_fails_before_its_first_event() {
        for (first, asked) in [
            (Does::Answer, "first"),
            (Does::Unreachable, "second"),
            (Does::Babble, "second"),
            (Does::Refuse(429), "second"),
            (Does::Refuse(500), "second"),
            (Does::Refuse(529), "second"),
            (Does::FailFirst, "second"),
            (Does::FailLater, "first"),
        ] {
            let chain = chain(first, Does::Answer);
            let events: Vec<_> = chain.messages(request()).await.unwrap().collect().await;
            let Ok(StreamEvent::MessageStart { message }) = &events[0] else { panic!("{events:?}") };
            assert_eq!(message.model, asked);
            let count = |name| u64::from(name == asked);
            assert_eq!(chain.answered(), [("first".into(), count("first")), ("second".into(), count("second"))]);
        }
    }

    #[tokio::test]
    async fn an_error_in_the_request_is_final_and_the_last_error_is_returned() {
        for (first, second, expected) in [
            (Does::Refuse(400), Does::Answer, "api_error: first"),
            (Does::Refuse(401), Does::Answer, "api_error: first"),
            (Does::Unreachable, Does::Refuse(529), "api_error: second"),
            (Does::Refuse(529), Does::Unreachable, "second: refused"),
        ] {
            assert_eq!(chain(first, second).messages(request()).await.err().unwrap().to_string(), expected);
        }
        assert_eq!(chain(Does::Refuse(500), Does::Answer).count_tokens(request()).await.unwrap(), "second".len() as u64);
    }
}
