//! A loaded model of any family: embedding, blocks, norm, output head.

use std::path::Path;

use mlx_rs::error::Exception;
use mlx_rs::transforms::eval;
use mlx_rs::{Array, Dtype};

use super::block::Block;
use super::layers::{Linear, RmsNorm};
use super::matrix::Matrix;
use super::progress::LoadListener;
use super::weights::Weights;
use super::{Config, KvCache};
use crate::engine::EngineError;

/// A model in memory. Its arrays belong to the thread that loaded it.
pub struct Model {
    config: Config,
    embedding: Matrix,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Linear,
}

impl Model {
    /// Loads a model folder's `config.json` and weights, telling the listener before the first weight and after each block.
    pub fn load(dir: &Path, listener: &LoadListener) -> Result<Self, EngineError> {
        let config = Config::load(dir)?;
        let weights = &mut Weights::open(dir, config.quantization.clone())?;
        listener.tell(weights.progress());
        let table = [config.vocab_size, config.hidden_size];
        let embedding = weights.matrix("model.embed_tokens", &table)?;
        let tied = config.tied_head.unwrap_or(!weights.has("lm_head.weight"));
        let head = if tied { embedding.clone() } else { weights.matrix("lm_head", &table)? };
        let mut blocks = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            blocks.push(config.family.block(weights, layer, &config)?);
            listener.tell(weights.progress());
        }
        let norm = RmsNorm::load(weights, "model.norm", config.hidden_size, &config)?;
        Ok(Self { embedding, blocks, norm, head: Linear { weight: head, bias: None }, config })
    }

    /// The model's sizes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A cache with no token in it.
    pub fn new_cache(&self) -> KvCache {
        KvCache::new(self.blocks.len())
    }

    /// Computes the keys and values of `tokens`, which follow those in the cache.
    ///
    /// Only the cache is evaluated, so the last block's attention and MLP, which nothing here needs, are never computed.
    pub fn prefill(&self, tokens: &[u32], cache: &mut KvCache) -> Result<(), Exception> {
        self.hidden(tokens, cache)?;
        eval(cache.arrays())
    }

    /// Computes `token`, which follows those in the cache; gives the logits of what comes after it, one per vocabulary entry.
    pub fn step(&self, token: u32, cache: &mut KvCache) -> Result<Vec<f32>, EngineError> {
        self.logits(&[token], cache)
    }

    /// Computes `tokens`, which follow those in the cache; gives the logits of what comes after each of them, one row after
    /// the other.
    pub fn logits(&self, tokens: &[u32], cache: &mut KvCache) -> Result<Vec<f32>, EngineError> {
        let hidden = self.hidden(tokens, cache)?;
        let logits = self.head.forward(&self.norm.forward(&hidden)?)?.as_dtype(Dtype::Float32)?;
        eval(cache.arrays().chain([&logits]))?;
        logits.to_vec_exact().map_err(|e| EngineError::Device(e.to_string()))
    }

    /// What the blocks make of `tokens`: `[B, L, hidden]`, before the last norm.
    fn hidden(&self, tokens: &[u32], cache: &mut KvCache) -> Result<Array, Exception> {
        let ids = Array::from_slice(tokens, &[1, tokens.len() as i32]);
        let mut x = self.embedding.rows(&ids)?;
        for (layer, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, layer, cache)?;
        }
        cache.advance(tokens.len());
        Ok(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cache::{Payload, Segment};
    use crate::engine::testing::{self, prompt};

    fn model() -> Model {
        let dir = tempfile::tempdir().unwrap();
        testing::write_model(dir.path());
        Model::load(dir.path(), &LoadListener::default()).unwrap()
    }

    /// Logits after `prompt`, prefilled in the given parts, the last token alone.
    fn logits(model: &Model, prompt: &[u32], parts: &[usize]) -> Vec<f32> {
        let (last, mut rest) = prompt.split_last().unwrap();
        let mut cache = model.new_cache();
        for &part in parts {
            let (chunk, left) = rest.split_at(part);
            model.prefill(chunk, &mut cache).unwrap();
            rest = left;
        }
        assert!(rest.is_empty());
        model.step(*last, &mut cache).unwrap()
    }

    fn assert_close(a: &[f32], b: &[f32]) {
        let difference = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(a.len() == b.len() && difference < 1e-4, "logits differ by {difference}");
    }

    #[test]
    fn any_split_of_the_prompt_gives_the_same_logits() {
        let (model, prompt) = (model(), prompt(701));
        let whole = logits(&model, &prompt, &[700]);
        for parts in [&[512, 188][..], &[1, 699], &[256, 256, 188], &[7; 100]] {
            assert_close(&logits(&model, &prompt, parts), &whole);
        }
        let mut other = prompt;
        other[0] += 1;
        let changed = logits(&model, &other, &[700]);
        assert!(changed.iter().zip(&whole).any(|(a, b)| (a - b).abs() > 1e-3), "the first token must still matter");
    }

    #[test]
    fn a_branch_continues_like_a_fresh_prompt_and_leaves_its_origin_alone() {
        let (model, long) = (model(), prompt(400));
        let mut origin = model.new_cache();
        model.prefill(&long, &mut origin).unwrap();
        origin.seal().unwrap();

        let shared = origin.segments()[0].payload.first(123).unwrap();
        let mut branch = model.new_cache();
        branch.resume(vec![Segment { tokens: 123, payload: shared }]);
        let branched: Vec<u32> = long[..123].iter().copied().chain([5, 6, 7]).collect();
        model.prefill(&[5, 6], &mut branch).unwrap();
        assert_close(&model.step(7, &mut branch).unwrap(), &logits(&model, &branched, &[125]));

        let continued: Vec<u32> = long.iter().copied().chain([9]).collect();
        assert_close(&model.step(9, &mut origin).unwrap(), &logits(&model, &continued, &[400]));
    }
}
