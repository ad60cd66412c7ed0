//! Continuing a text as it is: without a chat template, and all that comes is text.

use tokio_util::sync::CancellationToken;

use super::text_side::TextSide;
use crate::engine::decode::{Sampler, Sampling};
use crate::engine::{EngineError, Generation};
use crate::wire::MessagesRequest;

impl TextSide {
    /// The engine's task for continuing a text. `settings`: how, in a request that has no messages and no tools.
    ///
    /// # Errors
    /// The text is too long, the settings are out of range, or nobody waits for the answer any more.
    pub(super) fn continuation(
        &self,
        text: &str,
        settings: &MessagesRequest,
        unwanted: &CancellationToken,
    ) -> Result<Generation, EngineError> {
        self.limit.check(text, &self.tokenizer, unwanted)?;
        let prompt = self.tokenizer.encode_document(text)?;
        Ok(Generation {
            decoder: self.decoders.start_plain(settings)?,
            sampler: Sampler::new(Sampling::for_request(settings, &self.defaults)?, &prompt),
            prompt,
            max_tokens: settings.max_tokens as usize,
        })
    }
}
