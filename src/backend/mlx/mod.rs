//! The in-process MLX engine as a backend.

mod admission;
mod answer_stream;
mod begun_answer;
mod breakpoints;
mod continuation;
mod conversation_traits;
pub(crate) mod embedded;
mod judge;
mod prompt_limit;
mod report;
mod shared_prefixes;
mod text_side;

use std::path::Path;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt, ready};
use tokio_util::sync::CancellationToken;

pub use self::admission::ClientLimits;
use self::admission::{Admission, for_client};
use self::answer_stream::answer_stream;
use self::breakpoints::CacheBreakpoints;
pub use self::conversation_traits::{ConversationTraits, ThinkingSwitch};
use self::report::report;
use self::text_side::{Prepared, TextSide};
use super::{Backend, BackendError, CacheControl, CacheReport, EventStream, JudgeAnswers, ModelLimits, WarmUpReport};
use crate::engine::decode::ToolFormatName;
use crate::engine::{Engine, EngineError, EngineOptions, MemoryUse};
use crate::wire::{ErrorBody, ErrorKind, MessagesRequest};

/// When to try again if memory is short, in seconds: by then other answers may have ended.
const RETRY_AFTER_S: u32 = 5;

/// A loaded model, as a backend.
pub struct MlxBackend {
    model: String,
    engine: Engine,
    text: Arc<TextSide>,
    admission: Admission,
}

impl MlxBackend {
    /// Loads a model folder in Hugging Face's layout. Blocks the thread until the weights are in memory.
    ///
    /// # Errors
    /// A file of the model or the cache folder cannot be used, or the device fails.
    pub fn load(dir: &Path, options: EngineOptions) -> Result<Self, EngineError> {
        let text = TextSide::load(dir, &options)?;
        let engine = Engine::load(dir, options)?;
        // The given path may be `.` or a link; the folder's own name tells which model it is.
        let real = dir.canonicalize().unwrap_or_else(|_| dir.into());
        let in_path = || real.file_name().unwrap_or(real.as_os_str()).to_string_lossy().into_owned();
        let model = crate::hub::name_of(&real).map_or_else(in_path, |name| name.to_string());
        Ok(Self { model, engine, text: Arc::new(text), admission: Admission::new(ClientLimits::default()) })
    }

    /// The backend with other limits for its clients. Answers that have begun keep theirs.
    pub fn with_limits(self, limits: ClientLimits) -> Self {
        Self { admission: Admission::new(limits), ..self }
    }

    /// How the model writes tool calls.
    pub fn tool_format(&self) -> ToolFormatName {
        self.text.tool_format
    }

    /// What the chat template and the vocabulary make of conversations.
    ///
    /// # Errors
    /// The template fails on a conversation with a tool call.
    pub fn conversation_traits(&self) -> Result<ConversationTraits, EngineError> {
        self.text.conversation_traits()
    }

    /// The engine itself, for functions beyond the [`Backend`] trait.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs text work on a thread where it does not hold up other requests: a long prompt takes tens of milliseconds. The work is
    /// told when nobody waits for it any more.
    fn on_text_side<T: Send + 'static>(
        &self,
        work: impl FnOnce(&TextSide, &CancellationToken) -> Result<T, EngineError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, BackendError>> {
        let text = self.text.clone();
        let unwanted = CancellationToken::new();
        let wanted = unwanted.clone().drop_guard();
        let task = tokio::task::spawn_blocking(move || work(&text, &unwanted));
        async move {
            let done = task.await.map_err(|e| BackendError::new(ErrorKind::Api, format!("engine: {e}")));
            drop(wanted);
            Ok(done??)
        }
        .boxed()
    }
}

impl Backend for MlxBackend {
    fn name(&self) -> String {
        self.model.clone()
    }

    fn model(&self) -> String {
        self.model.clone()
    }

    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        async move {
            let admitted = self.admission.admit()?;
            let prepared = self.on_text_side(move |text, unwanted| text.prepare(request, unwanted));
            let Prepared { request, text, generation, loosened } = prepared.await?;
            let (model, prompt) = (request.model.clone(), generation.prompt.clone());
            let slot = admitted.slot().await?;
            let events = for_client(self.engine.generate(generation)?, slot);
            // The breakpoints take several renderings of the prompt: they are located while the device computes.
            let breakpoints = self.on_text_side(move |side, _| side.breakpoints(&request, &text, &prompt));
            Ok(answer_stream(model, breakpoints, events).with_loosened(loosened))
        }
        .boxed()
    }

    fn reports_logprobs(&self) -> bool {
        true
    }

    fn continue_text(&self, text: String, settings: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        async move {
            let admitted = self.admission.admit()?;
            let model = settings.model.clone();
            let generation = self.on_text_side(move |side, unwanted| side.continuation(&text, &settings, unwanted)).await?;
            let slot = admitted.slot().await?;
            let events = for_client(self.engine.generate(generation)?, slot);
            let no_breakpoints = async { Ok(CacheBreakpoints::default()) }.boxed();
            Ok(answer_stream(model, no_breakpoints, events))
        }
        .boxed()
    }

    fn count_tokens(&self, request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        async move {
            let _admitted = self.admission.admit()?;
            self.on_text_side(move |text, unwanted| Ok(text.count(request, unwanted)? as u64)).await
        }
        .boxed()
    }

    fn limits(&self) -> BoxFuture<'_, ModelLimits> {
        let output = self.engine.output_limits().tokens.map(|tokens| tokens.get() as u64);
        ready(ModelLimits { context: Some(self.engine.config().context as u64), output }).boxed()
    }

    fn judge(&self) -> Option<&dyn JudgeAnswers> {
        Some(self)
    }

    fn cache(&self) -> Option<&dyn CacheControl> {
        Some(self)
    }
}

impl CacheControl for MlxBackend {
    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        async move { Ok(self.engine.clear_cache().await?) }.boxed()
    }

    fn keep_shared_prefix(&self, request: MessagesRequest) -> BoxFuture<'_, Result<(), BackendError>> {
        async move {
            let _admitted = self.admission.admit()?;
            let tokens = self.on_text_side(move |text, unwanted| text.shared_prefix(request, unwanted)).await?;
            Ok(self.engine.keep_only(tokens).await?)
        }
        .boxed()
    }

    fn warm_up(&self, request: MessagesRequest) -> BoxFuture<'_, Result<(), BackendError>> {
        async move {
            let tokens = self.on_text_side(move |text, unwanted| text.shared_prefix(request, unwanted)).await?;
            Ok(self.engine.warm_up(tokens).await?)
        }
        .boxed()
    }

    fn report(&self) -> Option<CacheReport> {
        let warming = self.engine.warm_up_progress().map(|(done, total)| WarmUpReport { done, total });
        // Before the counts: once reading ahead has ended, these are complete.
        let reading_ahead = self.engine.is_reading_ahead();
        Some(CacheReport { warming, reading_ahead, ..report(self.engine.cache_stats(), MemoryUse::now()) })
    }
}

impl From<EngineError> for BackendError {
    fn from(error: EngineError) -> Self {
        let kind = match &error {
            EngineError::Request(_) => ErrorKind::InvalidRequest,
            EngineError::Overloaded(_) => ErrorKind::Overloaded,
            EngineError::ModelFile { .. }
            | EngineError::CacheFolder { .. }
            | EngineError::WarmUpStopped
            | EngineError::Grammar(_)
            | EngineError::Device(_) => ErrorKind::Api,
        };
        let retry_after = (kind == ErrorKind::Overloaded).then(|| RETRY_AFTER_S.to_string());
        Self::Answered { status: kind.status(), body: ErrorBody::new(kind, error.to_string()), retry_after }
    }
}

#[cfg(test)]
mod tests;
