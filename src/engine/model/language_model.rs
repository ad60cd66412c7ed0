//! The whole forward pass of a model of any family: embedding, transformer blocks, final RMSNorm, LM head.

use std::path::Path;

use mlx_rs::error::Exception;
use mlx_rs::ops::{divide, multiply, tanh};
use mlx_rs::transforms::eval;
use mlx_rs::{Array, Dtype};

use super::batch::{Batch, SequenceInput};
use super::compute_path::ComputePath;
use super::device_work::wait;
use super::embedding::{Embedded, Embedding};
use super::layers::{Linear, RmsNorm};
use super::progress::LoadListener;
use super::transformer_block::TransformerBlock;
use super::weights::Weights;
use super::{Config, KvCache, families};
use crate::engine::EngineError;

/// A loaded model. Its arrays must stay on the thread that loaded it.
pub struct Model {
    config: Config,
    path: ComputePath,
    embedding: Embedding,
    blocks: Vec<TransformerBlock>,
    norm: RmsNorm,
    head: Linear,
}

impl Model {
    /// Loads a model folder for a compute path. Tells the listener before the first weight and after each transformer block.
    pub fn load(dir: &Path, path: ComputePath, listener: &LoadListener) -> Result<Self, EngineError> {
        let path = path.checked()?;
        let config = Config::load(dir)?;
        let weights = &mut Weights::open(dir, config.layers, config.quantization.clone(), path)?;
        listener.tell(weights.progress());
        let embedding = Embedding::load(weights, &config)?;
        let tied = config.tied_head.unwrap_or(!weights.has("lm_head.weight"));
        let table = [config.vocab_size, config.hidden_size];
        let head = if tied { embedding.table().clone() } else { weights.matrix("lm_head", &table)? };
        let mut blocks = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            blocks.push(families::block(weights, layer, &config)?);
            listener.tell(weights.progress());
        }
        let norm = RmsNorm::load(weights, "model.norm", config.hidden_size, &config)?;
        Ok(Self { embedding, blocks, norm, head: Linear { weight: head, bias: None }, path, config })
    }

    /// The model's architecture and sizes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How the model computes.
    pub fn path(&self) -> ComputePath {
        self.path
    }

    /// An empty KV cache for this model.
    pub fn new_cache(&self) -> KvCache {
        KvCache::new(self.config.kv_shapes().len(), self.path).with_recurrent(self.config.recurrent_layers())
    }

    /// Computes the keys and values of `tokens`, which follow those in the cache.
    ///
    /// Leaves out what only logits need: all after the keys and values of the last transformer block that has any of its own.
    pub fn prefill(&self, tokens: &[u32], cache: &mut KvCache) -> Result<(), Exception> {
        let mut batch = Batch::new(self.path, vec![SequenceInput::new(tokens, cache)], self.config.rope.query_scaling)?;
        let Some(last) = self.blocks.iter().rposition(TransformerBlock::remembers) else { return Ok(()) };
        let x = self.through(&self.blocks[..last], &mut batch)?;
        self.blocks[last].fill(&x, &mut batch)?;
        batch.advance();
        wait(batch.arrays())
    }

    /// Computes the new tokens of some sequences in one forward pass; returns the logits after each of them, `[R, vocab]`, and
    /// appends their keys and values to the caches. With at most [`MAX_ROW_EXACT`](super::MAX_ROW_EXACT) new tokens per
    /// sequence, no logit's bits depend on the other tokens or sequences (on the CPU path); a longer input must be the only one.
    pub fn logits(&self, inputs: Vec<SequenceInput>) -> Result<Vec<f32>, EngineError> {
        let logits = self.lazy_logits(inputs)?;
        eval([&logits])?;
        logits.to_vec_exact().map_err(|e| EngineError::Device(e.to_string()))
    }

    /// The same as an array that MLX may not have computed yet, `[n, R / n, vocab]`. Evaluating it computes all that was appended
    /// to the caches.
    pub fn lazy_logits(&self, inputs: Vec<SequenceInput>) -> Result<Array, Exception> {
        let mut batch = Batch::new(self.path, inputs, self.config.rope.query_scaling)?;
        let hidden = self.through(&self.blocks, &mut batch)?;
        batch.advance();
        let logits = self.head.forward(&self.norm.forward(&hidden)?)?;
        let cap = self.config.family.gemma4().and_then(|own| own.logit_cap);
        let logits = if let Some(cap) = cap { capped(&logits, cap)? } else { logits };
        logits.as_dtype(Dtype::Float32)
    }

    /// The batch's tokens through embedding and some transformer blocks: `[n, R / n, D]`. Does not yet advance the caches.
    fn through(&self, blocks: &[TransformerBlock], batch: &mut Batch) -> Result<Array, Exception> {
        let Embedded { stream: mut x, for_layers } = self.embedding.forward(&batch.tokens()?, self.path)?;
        for (layer, block) in blocks.iter().enumerate() {
            x = block.forward(&x, for_layers.get(layer), batch)?;
        }
        Ok(x)
    }
}

/// Logits that stay within `cap` of 0.
fn capped(logits: &Array, cap: f32) -> Result<Array, Exception> {
    let cap = Array::from_f32(cap).as_dtype(logits.dtype())?;
    multiply(tanh(divide(logits, &cap)?)?, &cap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::segment::{Payload, Segment};
    use crate::engine::testing::{self, prompt};

    fn model(path: ComputePath) -> Model {
        testing::model_with(&serde_json::json!({}), path).1
    }

    /// The logits after `prompt`; all but its last token is prefilled in chunks of the given lengths.
    fn logits(model: &Model, prompt: &[u32], parts: &[usize]) -> Vec<f32> {
        let (last, mut rest) = prompt.split_last().unwrap();
        let mut cache = model.new_cache();
        for &part in parts {
            let (chunk, left) = rest.split_at(part);
            model.prefill(chunk, &mut cache).unwrap();
            rest = left;
        }
        assert!(rest.is_empty());
        model.logits(vec![SequenceInput::new(&[*last], &mut cache)]).unwrap()
    }

    fn assert_close(a: &[f32], b: &[f32]) {
        let difference = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(a.len() == b.len() && difference < 1e-4, "logits differ by {difference}");
    }

    #[test]
    fn any_split_of_the_prompt_gives_the_same_logits_on_both_paths() {
        for config in [serde_json::json!({}), testing::hybrid(), testing::gemma4(), testing::glm_lite()] {
            any_split_gives_the_same_logits(&config);
        }
    }

    fn any_split_gives_the_same_logits(config: &serde_json::Value) {
        let model = |path| testing::model_with(config, path).1;
        let whole = logits(&model(ComputePath::Cpu), &prompt(701), &[700]);
        for path in ComputePath::ALL {
            let (model, mut prompt) = (model(path), prompt(701));
            for parts in [&[512, 188][..], &[700], &[1, 699], &[256, 256, 188], &[7; 100]] {
                assert_close(&logits(&model, &prompt, parts), &whole);
            }
            prompt[0] += 1;
            let changed = logits(&model, &prompt, &[700]);
            assert!(changed.iter().zip(&whole).any(|(a, b)| (a - b).abs() > 1e-3), "the first token must still matter");
        }
    }

    #[test]
    fn logits_are_those_of_each_token_alone_on_the_cpu_path_to_the_bit() {
        // With these widths, the bits of OpenBLAS's products depend on the number of rows.
        let wide = serde_json::json!({"hidden_size": 192, "intermediate_size": 512, "head_dim": 64});
        for mut config in [serde_json::json!({}), testing::hybrid(), testing::gemma4(), testing::glm_lite()] {
            config.as_object_mut().unwrap().extend(wide.as_object().unwrap().clone());
            let (_dir, model) = testing::model_with(&config, ComputePath::Cpu);
            let (together, each) = together_and_alone(&model);
            assert!(together == each, "logits differ: {config}");
        }
    }

    #[test]
    fn logits_are_those_of_each_token_alone_on_the_gpu_path_to_rounding() {
        let windowed = serde_json::json!({"use_sliding_window": true, "sliding_window": 20, "max_window_layers": 1});
        let experts = serde_json::json!({"model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2,
            "moe_intermediate_size": 16, "norm_topk_prob": true, "decoder_sparse_step": 1, "mlp_only_layers": []});
        for config in [serde_json::json!({}), windowed, experts, testing::hybrid(), testing::gemma4(), testing::glm_lite()] {
            let (_dir, model) = testing::model_with(&config, ComputePath::Gpu);
            let (together, each) = together_and_alone(&model);
            assert_close(&together, &each);
        }
    }

    /// The logits of new tokens of several sequences, computed in one pass, and each token by itself.
    fn together_and_alone(model: &Model) -> (Vec<f32>, Vec<f32>) {
        let filled = |tokens: usize| {
            let mut cache = model.new_cache();
            model.prefill(&prompt(tokens), &mut cache).unwrap();
            cache
        };
        let alone = |before: usize, tokens: &[u32]| {
            let mut cache = filled(before);
            let row = |token: &u32| model.logits(vec![SequenceInput::new(std::slice::from_ref(token), &mut cache)]).unwrap();
            tokens.iter().flat_map(row).collect::<Vec<f32>>()
        };
        let sequences: [(usize, &[u32]); 4] = [(30, &[1, 2, 3]), (600, &[4]), (3, &[5, 6, 7, 8, 9, 10, 11]), (70, &[12, 13])];
        let mut caches = sequences.map(|(before, _)| filled(before));
        let inputs = caches.iter_mut().zip(sequences).map(|(cache, (_, tokens))| SequenceInput::new(tokens, cache)).collect();
        let together = model.logits(inputs).unwrap();
        let each: Vec<f32> = sequences.iter().flat_map(|(before, tokens)| alone(*before, tokens)).collect();
        (together, each)
    }

    #[test]
    fn the_tokens_of_a_rejected_draft_leave_no_trace() {
        for (config, path) in [serde_json::json!({}), testing::hybrid(), testing::gemma4(), testing::glm_lite()]
            .iter()
            .flat_map(|it| ComputePath::ALL.map(|path| (it, path)))
        {
            let (_dir, model) = testing::model_with(config, path);
            let after = |passes: &[(&[u32], usize)]| {
                let mut cache = model.new_cache();
                model.prefill(&prompt(70), &mut cache).unwrap();
                for (tokens, rejected) in passes {
                    model.logits(vec![SequenceInput::new(tokens, &mut cache)]).unwrap();
                    cache.cut(*rejected).unwrap();
                }
                model.logits(vec![SequenceInput::new(&[9], &mut cache)]).unwrap()
            };
            let wanted = after(&[(&[5, 6], 0), (&[7], 0)]);
            for passes in
                [&[(&[5, 6, 100, 101][..], 2), (&[7][..], 0)][..], &[(&[5, 6, 7, 102], 1)], &[(&[5, 100], 1), (&[6, 7], 0)]]
            {
                let found = after(passes);
                assert_close(&found, &wanted);
                assert!(path == ComputePath::Gpu || found == wanted, "{path:?}: {config}");
            }
        }
    }

    #[test]
    fn a_recurrent_sequence_goes_on_from_a_checkpoint_only() {
        for path in ComputePath::ALL {
            let (_dir, model) = testing::model_with(&testing::hybrid(), path);
            let mut origin = model.new_cache();
            model.prefill(&prompt(100), &mut origin).unwrap();
            origin.seal().unwrap();
            let plain = origin.segments().to_vec();
            origin.keep_checkpoint(true).unwrap();
            let kept = origin.segments().to_vec();
            assert!(kept[0].payload.resumes_after(100) && !kept[0].payload.resumes_after(99));
            assert!(kept[0].payload.bytes() > plain[0].payload.bytes());
            let mut branch = model.new_cache();
            branch.resume(kept).unwrap();
            let row = |cache: &mut KvCache| model.logits(vec![SequenceInput::new(&[3], cache)]).unwrap();
            assert_eq!(row(&mut branch), row(&mut origin));
            let mut other = model.new_cache();
            assert!(other.resume(plain).is_err() && other.tokens() == 0);
        }
    }

    #[test]
    fn a_branch_continues_like_a_fresh_prompt_and_leaves_its_origin_alone() {
        for path in ComputePath::ALL {
            let (model, long) = (model(path), prompt(400));
            let mut origin = model.new_cache();
            model.prefill(&long, &mut origin).unwrap();
            origin.seal().unwrap();

            let shared = origin.segments()[0].payload.first(123).unwrap();
            let mut branch = model.new_cache();
            branch.resume(vec![Segment { tokens: 123, payload: shared }]).unwrap();
            let branched: Vec<u32> = long[..123].iter().copied().chain([5, 6, 7]).collect();
            model.prefill(&[5, 6], &mut branch).unwrap();
            let after = |token, cache: &mut KvCache| model.logits(vec![SequenceInput::new(&[token], cache)]).unwrap();
            assert_close(&after(7, &mut branch), &logits(&model, &branched, &[125]));

            let continued: Vec<u32> = long.iter().copied().chain([9]).collect();
            assert_close(&after(9, &mut origin), &logits(&model, &continued, &[400]));
        }
    }

    #[test]
    fn a_pass_over_nothing_is_an_error_and_changes_no_cache() {
        let model = model(ComputePath::Cpu);
        let (mut one, mut other) = (model.new_cache(), model.new_cache());
        let refused = |error: EngineError| assert_eq!(error.to_string(), "engine: every sequence of a batch needs a token");
        refused(model.logits(vec![]).unwrap_err());
        refused(model.prefill(&[], &mut one).unwrap_err().into());
        refused(model.logits(vec![SequenceInput::new(&[1], &mut one), SequenceInput::new(&[], &mut other)]).unwrap_err());
        assert_eq!((one.tokens(), other.tokens()), (0, 0));
    }
}
