//! Dense Qwen3: embedding, blocks of attention and gated MLP, output head.
//!
//! Shapes: `B` batch (always 1), `L` new tokens, `T` all tokens, `H` heads, `K` key/value heads, `D` head width.

use std::path::Path;

use mlx_rs::error::Exception;
use mlx_rs::fast::{rms_norm, rope};
use mlx_rs::ops::{add, matmul, multiply, sigmoid};
use mlx_rs::transforms::eval;
use mlx_rs::{Array, Dtype};

use super::attention::causal_attention;
use super::weights::Weights;
use super::{Config, KvCache};
use crate::engine::EngineError;

/// A model in memory. Its arrays belong to the thread that loaded it.
pub struct Qwen3 {
    config: Config,
    embedding: Array,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Linear,
}

impl Qwen3 {
    /// Loads a model folder's `config.json` and weights.
    pub fn load(dir: &Path) -> Result<Self, EngineError> {
        let config = Config::load(dir)?;
        let weights = &mut Weights::load(dir)?;
        let table = [config.vocab_size, config.hidden_size];
        let embedding = weights.take("model.embed_tokens.weight", &table)?;
        let head = if config.tied_head { embedding.clone() } else { weights.take("lm_head.weight", &table)? };
        let blocks = (0..config.layers).map(|layer| Block::load(weights, layer, &config)).collect::<Result<_, _>>()?;
        let norm = RmsNorm::load(weights, "model.norm", config.hidden_size, &config)?;
        Ok(Self { embedding, blocks, norm, head: Linear::new(&head)?, config })
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
        let hidden = self.hidden(&[token], cache)?;
        let logits = self.head.forward(&self.norm.forward(&hidden)?)?.as_dtype(Dtype::Float32)?;
        eval(cache.arrays().chain([&logits]))?;
        logits.to_vec_exact().map_err(|e| EngineError::Device(e.to_string()))
    }

    /// What the blocks make of `tokens`: `[B, L, hidden]`, before the last norm.
    fn hidden(&self, tokens: &[u32], cache: &mut KvCache) -> Result<Array, Exception> {
        let ids = Array::from_slice(tokens, &[1, tokens.len() as i32]);
        let mut x = self.embedding.take_axis(&ids, 0)?;
        for (layer, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, layer, cache)?;
        }
        cache.advance(tokens.len());
        Ok(x)
    }
}

struct Block {
    attention_norm: RmsNorm,
    attention: Attention,
    mlp_norm: RmsNorm,
    mlp: Mlp,
}

impl Block {
    fn load(weights: &mut Weights, layer: usize, config: &Config) -> Result<Self, EngineError> {
        let name = format!("model.layers.{layer}");
        Ok(Self {
            attention_norm: RmsNorm::load(weights, &format!("{name}.input_layernorm"), config.hidden_size, config)?,
            attention: Attention::load(weights, &format!("{name}.self_attn"), config)?,
            mlp_norm: RmsNorm::load(weights, &format!("{name}.post_attention_layernorm"), config.hidden_size, config)?,
            mlp: Mlp::load(weights, &format!("{name}.mlp"), config)?,
        })
    }

    fn forward(&self, x: &Array, layer: usize, cache: &mut KvCache) -> Result<Array, Exception> {
        let x = add(x, self.attention.forward(&self.attention_norm.forward(x)?, layer, cache)?)?;
        add(&x, self.mlp.forward(&self.mlp_norm.forward(&x)?)?)
    }
}

struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    query_norm: RmsNorm,
    key_norm: RmsNorm,
    head_dim: i32,
    rope_theta: f32,
}

impl Attention {
    fn load(weights: &mut Weights, name: &str, config: &Config) -> Result<Self, EngineError> {
        let (width, hidden) = (config.head_dim, config.hidden_size);
        let (queries, keys) = (config.heads * width, config.kv_heads * width);
        Ok(Self {
            query: Linear::load(weights, &format!("{name}.q_proj"), hidden, queries)?,
            key: Linear::load(weights, &format!("{name}.k_proj"), hidden, keys)?,
            value: Linear::load(weights, &format!("{name}.v_proj"), hidden, keys)?,
            output: Linear::load(weights, &format!("{name}.o_proj"), queries, hidden)?,
            query_norm: RmsNorm::load(weights, &format!("{name}.q_norm"), width, config)?,
            key_norm: RmsNorm::load(weights, &format!("{name}.k_norm"), width, config)?,
            head_dim: width as i32,
            rope_theta: config.rope_theta,
        })
    }

    fn forward(&self, x: &Array, layer: usize, cache: &mut KvCache) -> Result<Array, Exception> {
        let offset = cache.tokens() as i32;
        let queries = self.rotate(&self.query_norm.forward(&self.heads(self.query.forward(x)?)?)?, offset)?;
        let keys = self.rotate(&self.key_norm.forward(&self.heads(self.key.forward(x)?)?)?, offset)?;
        let values = self.heads(self.value.forward(x)?)?.transpose_axes(&[0, 2, 1, 3])?;
        let (keys, values) = cache.append(layer, &keys, &values)?;
        let mixed = causal_attention(&queries, &keys, &values)?;
        let joined = mixed.transpose_axes(&[0, 2, 1, 3])?.reshape(&[1, x.dim(1), -1])?;
        self.output.forward(&joined)
    }

    /// `[B, L, heads * D]` to `[B, L, heads, D]`
    fn heads(&self, x: Array) -> Result<Array, Exception> {
        x.reshape(&[1, x.dim(1), -1, self.head_dim])
    }

    /// `[B, L, heads, D]` to `[B, heads, L, D]`, turned by the tokens' positions, of which the first is `offset`.
    fn rotate(&self, x: &Array, offset: i32) -> Result<Array, Exception> {
        rope(x.transpose_axes(&[0, 2, 1, 3])?, self.head_dim, false, self.rope_theta, 1.0, offset, None)
    }
}

struct Mlp {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Mlp {
    fn load(weights: &mut Weights, name: &str, config: &Config) -> Result<Self, EngineError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            gate: Linear::load(weights, &format!("{name}.gate_proj"), hidden, inner)?,
            up: Linear::load(weights, &format!("{name}.up_proj"), hidden, inner)?,
            down: Linear::load(weights, &format!("{name}.down_proj"), inner, hidden)?,
        })
    }

    /// SwiGLU in plain operations: mlx-rs's own `silu` is a compiled function, which starts a C++ compiler on the CPU.
    fn forward(&self, x: &Array) -> Result<Array, Exception> {
        let gate = self.gate.forward(x)?;
        let silu = multiply(&gate, sigmoid(&gate)?)?;
        self.down.forward(&multiply(silu, self.up.forward(x)?)?)
    }
}

/// A projection without bias. Holds the weight as the right factor, `[input, output]`.
struct Linear(Array);

impl Linear {
    fn load(weights: &mut Weights, name: &str, input: usize, output: usize) -> Result<Self, EngineError> {
        Ok(Self::new(&weights.take(&format!("{name}.weight"), &[output, input])?)?)
    }

    /// From a weight as it is stored, `[output, input]`: a view, not a copy.
    fn new(weight: &Array) -> Result<Self, Exception> {
        Ok(Self(weight.transpose()?))
    }

    fn forward(&self, x: &Array) -> Result<Array, Exception> {
        matmul(x, &self.0)
    }
}

struct RmsNorm {
    weight: Array,
    eps: f32,
}

impl RmsNorm {
    fn load(weights: &mut Weights, name: &str, width: usize, config: &Config) -> Result<Self, EngineError> {
        Ok(Self { weight: weights.take(&format!("{name}.weight"), &[width])?, eps: config.rms_norm_eps })
    }

    fn forward(&self, x: &Array) -> Result<Array, Exception> {
        rms_norm(x, Some(&self.weight), self.eps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cache::{Payload, Segment};
    use crate::engine::testing::{self, prompt};

    fn model() -> Qwen3 {
        let dir = tempfile::tempdir().unwrap();
        testing::write_model(dir.path());
        Qwen3::load(dir.path()).unwrap()
    }

    /// Logits after `prompt`, prefilled in the given parts, the last token alone.
    fn logits(model: &Qwen3, prompt: &[u32], parts: &[usize]) -> Vec<f32> {
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
