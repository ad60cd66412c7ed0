//! A token sequence and what the model has computed of it.

use super::EngineError;
use super::model::{KvCache, Model};
use super::prefix_cache::Hit;

/// Tokens computed, and the keys and values of exactly these.
pub struct Sequence {
    pub tokens: Vec<u32>,
    pub kv: KvCache,
}

impl Sequence {
    /// Starts a prompt with what the prefix cache has for it.
    pub fn start(model: &Model, prompt: &[u32], hit: Option<Hit<KvCache>>) -> Result<Self, EngineError> {
        let Some(Hit { payload: mut kv, tokens }) = hit else {
            return Ok(Self { tokens: Vec::new(), kv: model.new_cache() });
        };
        kv.truncate(tokens)?;
        Ok(Self { tokens: prompt[..tokens].to_vec(), kv })
    }

    /// Computes all of `prompt`, which starts with the tokens computed, in chunks. `false` when `wanted` said so between two
    /// of them; what was computed is then a shorter part of the prompt.
    pub fn prefill(
        &mut self,
        model: &Model,
        prompt: &[u32],
        chunk_tokens: usize,
        wanted: &impl Fn() -> bool,
    ) -> Result<bool, EngineError> {
        self.kv.reserve(prompt.len());
        for chunk in prompt[self.tokens.len()..].chunks(chunk_tokens) {
            if !wanted() {
                return Ok(false);
            }
            model.prefill(chunk, &mut self.kv)?;
            self.tokens.extend_from_slice(chunk);
        }
        Ok(true)
    }

    /// Computes one more token; gives the logits of what follows it.
    pub fn step(&mut self, model: &Model, token: u32) -> Result<Vec<f32>, EngineError> {
        let logits = model.step(token, &mut self.kv)?;
        self.tokens.push(token);
        Ok(logits)
    }
}
