//! "Send a Messages request, get a stream of events": the one trait that the server and replay are written against.
//!
//! Its kinds: the in-process MLX engine (`mlx`), any server that speaks the Anthropic Messages API (`remote`) or OpenAI's chat
//! completions (`openai`), and several of them in a chain (`fallback`).

mod cache_report;
pub mod fallback;
pub mod fitted;
mod http;
#[cfg(feature = "mlx")]
pub mod mlx;
pub mod openai;
pub mod remote;

use std::pin::Pin;

use futures::Stream;
use futures::future::BoxFuture;

pub use cache_report::{CacheEntry, CacheReport, DiskReport, MemoryReport, WarmUpReport};

use crate::wire::{ErrorBody, ErrorKind, MessagesRequest, StreamEvent};

/// The events of one answer, as they come. Dropping it cancels the request.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<StreamEvent, BackendError>> + Send>>;

/// Something that answers Messages requests.
pub trait Backend: Send + Sync {
    /// What to call it in output: the model's name, or the base URL.
    fn name(&self) -> String;

    /// The model's own name, for `GET /v1/models` and snapshots.
    fn model(&self) -> String;

    /// Starts an answer. The error is what happened before the first event; later ones come inside the stream.
    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>>;

    /// The number of prompt tokens the request would have.
    fn count_tokens(&self, request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>>;

    /// The prefix cache, where the backend lets us control it.
    fn cache(&self) -> Option<&dyn CacheControl> {
        None
    }
}

/// Control over a backend's prefix cache: how replay creates the cold, warm and cached states.
pub trait CacheControl: Send + Sync {
    /// Forgets everything.
    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Leaves one thing in the cache: the part of the prompt all conversations share, the tools and the system prompt.
    /// Computes it where it is not there yet.
    fn keep_shared_prefix(&self, request: MessagesRequest) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Computes that same part while nobody asks for anything, beside what is there, and returns when it is done;
    /// [`CacheReport::warming`] tells how far it is. A backend that cannot do so in the background does nothing.
    fn warm_up(&self, _request: MessagesRequest) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async { Ok(()) })
    }

    /// What the cache holds and what it saved, where the backend tells.
    fn report(&self) -> Option<CacheReport> {
        None
    }
}

/// Why a backend gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The backend answered with an error of its own.
    #[error("{}: {}", .body.error.kind, .body.error.message)]
    Answered { status: u16, body: ErrorBody, retry_after: Option<String> },
    /// The backend could not be reached, or the connection broke.
    #[error("{address}: {reason}")]
    Unreachable { address: String, reason: String },
    /// The backend said something that is not the protocol.
    #[error("{address} does not speak the Messages API: {reason}")]
    Protocol { address: String, reason: String },
}

impl BackendError {
    /// An error in Anthropic's own terms.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Answered { status: kind.status(), body: ErrorBody::new(kind, message), retry_after: None }
    }
}
