//! "Send a Messages request, get a stream of events": the one trait that the server and replay are written against.
//!
//! Its implementations: the in-process MLX engine (`mlx`), any server that speaks the Anthropic Messages API (`remote`) or
//! OpenAI's chat completions (`openai`), several backends in a chain (`fallback`), and one that shortens prompts first
//! (`trimmed`).

mod cache_access;
mod cache_report;
mod chat_judge;
mod chat_margins;
mod error;
mod event_stream;
pub mod fallback;
mod http;
mod learnt_models;
mod margins;
#[cfg(feature = "mlx")]
pub mod mlx;
mod model_limits;
mod omission_log;
pub mod openai;
pub mod remote;
pub mod trimmed;

use futures::future::{BoxFuture, ready};

pub use cache_access::CacheAccess;
pub use cache_report::{CacheEntry, CacheReport, DiskReport, MemoryReport, WarmUpReport};
pub use error::{BackendError, Protocol};
pub use event_stream::EventStream;
pub use margins::{CallMargin, JudgeAnswers, JudgedAnswer, LeastMargin};
pub use model_limits::ModelLimits;
pub(crate) use omission_log::{WhyOmitted, say_omitted};

pub use crate::net::bounds::TimeLimits;
use crate::wire::{ErrorKind, MessagesRequest};

/// The name of the model that is in this program, where the engine is in it.
pub(crate) const EMBEDDED: &str = "tiny";

/// The signature of thinking blocks that the in-process engine writes. Clients expect one and send it back. The engine does not
/// check it; Anthropic would refuse it.
const ENGINE_SIGNATURE: &str = "anyclaude";

/// Something that answers Messages requests.
pub trait Backend: Send + Sync {
    /// What to call it in output: the model's name, or the base URL.
    fn name(&self) -> String;

    /// The model's own name, for `GET /v1/models` and snapshots.
    fn model(&self) -> String;

    /// Starts an answer.
    ///
    /// # Errors
    /// What fails before the first event. Later errors are items of the stream, which then ends.
    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>>;

    /// Starts the continuation of a text as it is, without a chat template. `settings`: how, in a request that has no messages
    /// and no tools.
    ///
    /// # Errors
    /// As [`Self::messages`]. Backends that know conversations only refuse.
    fn continue_text(&self, _text: String, _settings: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        let reason = format!("{} answers conversations only: use /v1/chat/completions", self.name());
        Box::pin(async move { Err(BackendError::new(ErrorKind::InvalidRequest, reason)) })
    }

    /// Whether the answers of a request for log-probabilities have them. The others must not get such a request.
    fn reports_logprobs(&self) -> bool {
        false
    }

    /// The number of tokens in the request's prompt.
    ///
    /// # Errors
    /// The request is invalid, or the backend cannot be reached or cannot count.
    fn count_tokens(&self, request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>>;

    /// How many tokens its model takes and gives, as far as the backend knows or can ask.
    fn limits(&self) -> BoxFuture<'_, ModelLimits> {
        Box::pin(ready(ModelLimits::default()))
    }

    /// How sure the model is of an answer, if the backend can tell.
    fn judge(&self) -> Option<&dyn JudgeAnswers> {
        None
    }

    /// The prefix cache, if the backend lets us control it.
    fn cache(&self) -> Option<&dyn CacheControl> {
        None
    }

    /// What we can do about the prefix cache. Only a backend without one has to say so.
    fn cache_access(&self) -> CacheAccess {
        match self.cache() {
            Some(_) => CacheAccess::Controlled,
            None => CacheAccess::Hidden,
        }
    }
}

/// Control over a backend's prefix cache. Replay uses it to create the cold, warm and cached states.
pub trait CacheControl: Send + Sync {
    /// Forgets everything.
    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Forgets all but the request's shared prefix: the part of the prompt with the tools and the system prompt, which all
    /// conversations of a client share. Computes it if it is not cached.
    fn keep_shared_prefix(&self, request: MessagesRequest) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Computes the request's shared prefix while no other request wants the device, and returns when that is done. Forgets
    /// nothing. [`CacheReport::warming`] shows the progress. A backend without background work does nothing.
    fn warm_up(&self, _request: MessagesRequest) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async { Ok(()) })
    }

    /// The cache's contents and counts, if the backend reports them.
    fn report(&self) -> Option<CacheReport> {
        None
    }
}
