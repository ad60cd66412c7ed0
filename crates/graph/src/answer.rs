//! What a whole answer of the engine waits for and copies on the GPU path, beside its operations.

use std::path::Path;

use anyclaude::engine::decode::{AnswerDecoders, ToolFormatName};
use anyclaude::engine::text::Tokenizer;
use anyclaude::engine::{ComputePath, DeviceWork, Engine, EngineEvent, EngineOptions, Generation, Sampler, Sampling};
use anyclaude::wire::MessagesRequest;
use serde_json::json;

use crate::{StepError, TestModel};

/// Tokens of the conversation.
const CONVERSATION: usize = 1_000;

/// Tokens of two answers. Their difference in waits, divided by that in tokens, is the waits for each further token.
const SHORT: usize = 8;
const LONG: usize = 72;

/// What one engine did for a follow-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnswerCount {
    /// Waits for each further token of an answer without drafts.
    pub waits_per_token: f64,
    /// Bytes of keys and values that were copied for a request that continues a cached conversation, as a multiple of those that
    /// the conversation has.
    pub copies_per_follow_up: f64,
}

impl TestModel {
    /// Has an engine answer, and counts. `tokenizer`: a folder with any tokenizer; the text is not looked at.
    pub fn count_answers(&self, tokenizer: &Path) -> Result<AnswerCount, StepError> {
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(tokenizer.join(file), self.folder().join(file))?;
        }
        let options = EngineOptions { compute_path: Some(ComputePath::Gpu), ..EngineOptions::default() };
        let asking = Asking { engine: Engine::load(self.folder(), options)?, folder: self.folder() };
        // Computes the conversation.
        asking.work(CONVERSATION, 1)?;
        let cached = asking.engine.cache_stats();
        let (short, long) = (asking.work(CONVERSATION + 1, SHORT)?, asking.work(CONVERSATION + 1, LONG)?);
        Ok(AnswerCount {
            waits_per_token: (long.waits - short.waits) as f64 / (LONG - SHORT) as f64,
            copies_per_follow_up: short.copied_bytes as f64 / cached.bytes as f64,
        })
    }
}

struct Asking<'a> {
    engine: Engine,
    folder: &'a Path,
}

impl Asking<'_> {
    /// Has the engine answer a prompt of `prompt` tokens with `tokens` tokens; returns the waits and copies that took.
    fn work(&self, prompt: usize, tokens: usize) -> Result<DeviceWork, StepError> {
        let before = DeviceWork::so_far();
        let request: MessagesRequest = serde_json::from_value(json!({"model": "m", "max_tokens": tokens, "messages": []}))
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        let decoders = AnswerDecoders::new(Tokenizer::load(self.folder)?, ToolFormatName::Hermes.format())?;
        // To this model all tokens are equally likely. Sampled ones hardly repeat, so prompt lookup proposes no drafts.
        let sampling = Sampling { temperature: 1.0, seed: Some(3), ..Sampling::GREEDY };
        let prompt: Vec<u32> = (0..prompt as u32).map(|n| n * 7919 % 61).collect();
        let mut events = self.engine.generate(Generation {
            max_tokens: tokens,
            decoder: decoders.start(&request, None)?,
            sampler: Sampler::new(sampling, &prompt),
            prompt,
        })?;
        while let Some(event) = events.blocking_recv() {
            if let EngineEvent::Finished(finished) = event?
                && finished.output_tokens != tokens
            {
                return Err(std::io::Error::other(format!("an answer of {} tokens, not {tokens}", finished.output_tokens)).into());
            }
        }
        let after = DeviceWork::so_far();
        Ok(DeviceWork { waits: after.waits - before.waits, copied_bytes: after.copied_bytes - before.copied_bytes })
    }
}
