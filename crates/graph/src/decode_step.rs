//! Decoding steps of a small model after conversations of several lengths.

use std::path::Path;

use anyclaude::engine::{ComputePath, EngineError, KvCache, LoadListener, Model, Segment, SequenceInput};
use mlx_rs::error::{Exception, IoError};
use mlx_rs::{Array, ops::zeros};
use serde_json::json;

use crate::{GraphError, Operations, operations};

/// The conversations' lengths, in tokens.
const LENGTHS: [usize; 3] = [1_000, 8_000, 24_000];

/// Tokens that are computed; longer conversations repeat their keys and values.
const COMPUTED: usize = 1_000;

/// Layers of the model. Four are enough to see what each layer adds.
const LAYERS: i32 = 4;

/// Why a step cannot be counted.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The model's files cannot be written.
    #[error("cannot write the model: {0}")]
    Write(#[from] std::io::Error),
    /// MLX cannot write the model's weights.
    #[error("cannot write the model's weights: {0}")]
    Weights(#[from] IoError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// MLX failed.
    #[error("MLX: {0}")]
    Mlx(#[from] Exception),
    /// The graph cannot be counted.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// What a step computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeStep {
    /// One token of one sequence.
    One,
    /// One token of each of four sequences.
    FourTogether,
    /// A token and a draft of four more, of one sequence.
    DraftOfFour,
}

impl DecodeStep {
    /// All steps.
    pub const ALL: [Self; 3] = [Self::One, Self::FourTogether, Self::DraftOfFour];

    /// Its name, as in tests/oracle/graph.py.
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::FourTogether => "four together",
            Self::DraftOfFour => "a draft of four",
        }
    }

    /// Sequences, and new tokens of each.
    fn size(self) -> (usize, usize) {
        match self {
            Self::One => (1, 1),
            Self::FourTogether => (4, 1),
            Self::DraftOfFour => (1, 5),
        }
    }
}

/// The operations of a step after a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepCount {
    /// The conversation's length.
    pub tokens: usize,
    /// What is computed.
    pub step: DecodeStep,
    /// What that takes.
    pub operations: Operations,
}

/// A model folder: a Qwen3 whose weights are all zeros, which makes no difference to what is counted.
pub struct TestModel(tempfile::TempDir);

impl TestModel {
    /// Writes the folder.
    pub fn new() -> Result<Self, StepError> {
        let folder = tempfile::tempdir()?;
        let config = json!({
            "model_type": "qwen3", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": LAYERS,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
            "tie_word_embeddings": false, "max_position_embeddings": 32_768,
        });
        std::fs::write(folder.path().join("config.json"), config.to_string())?;
        Array::save_safetensors(weights()?, None, folder.path().join("model.safetensors"))?;
        Ok(Self(folder))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// The operations of every step after a conversation of every length, on the GPU path.
    pub fn count(&self) -> Result<Vec<StepCount>, StepError> {
        let model = Model::load(self.folder(), ComputePath::Gpu, &LoadListener::default())?;
        let mut computed = model.new_cache();
        model.prefill(&[0; COMPUTED], &mut computed)?;
        computed.seal()?;
        let mut counts = Vec::new();
        for tokens in LENGTHS {
            for step in DecodeStep::ALL {
                counts.push(StepCount { tokens, step, operations: count(&model, &computed, tokens, step)? });
            }
        }
        Ok(counts)
    }
}

/// Every length, as arguments of tests/oracle/graph.py.
pub fn lengths() -> impl Iterator<Item = String> {
    LENGTHS.iter().map(usize::to_string)
}

/// The operations of a step after as many tokens as repetitions of those `computed` make.
fn count(model: &Model, computed: &KvCache, tokens: usize, step: DecodeStep) -> Result<Operations, StepError> {
    let (sequences, new) = step.size();
    let cache = || {
        let segments = computed.segments().iter().map(|part| Segment { tokens: part.tokens, payload: part.payload.clone() });
        let segments = segments.collect::<Vec<_>>();
        let repeated = (0..tokens / COMPUTED).flat_map(|_| segments.iter());
        let mut cache = model.new_cache();
        cache.resume(repeated.map(|part| Segment { tokens: part.tokens, payload: part.payload.clone() }).collect())?;
        Ok(cache)
    };
    let mut caches = (0..sequences).map(|_| cache()).collect::<Result<Vec<KvCache>, Exception>>()?;
    if sequences > 1 {
        KvCache::join(&mut caches.iter_mut().collect::<Vec<_>>())?;
    }
    let input = vec![0; new];
    let inputs = caches.iter_mut().map(|cache| SequenceInput::new(&input, cache)).collect();
    Ok(operations(&model.lazy_logits(inputs)?)?)
}

fn weights() -> Result<Vec<(String, Array)>, Exception> {
    let layer = [
        ("input_layernorm", &[32][..]),
        ("post_attention_layernorm", &[32]),
        ("self_attn.q_norm", &[16]),
        ("self_attn.k_norm", &[16]),
        ("self_attn.q_proj", &[64, 32]),
        ("self_attn.k_proj", &[32, 32]),
        ("self_attn.v_proj", &[32, 32]),
        ("self_attn.o_proj", &[32, 64]),
        ("mlp.gate_proj", &[48, 32]),
        ("mlp.up_proj", &[48, 32]),
        ("mlp.down_proj", &[32, 48]),
    ];
    let layers = (0..LAYERS).flat_map(|at| layer.map(|(name, shape)| (format!("model.layers.{at}.{name}"), shape)));
    let ends = [("model.embed_tokens", &[64, 32][..]), ("lm_head", &[64, 32]), ("model.norm", &[32])];
    let ends = ends.map(|(name, shape)| (name.to_owned(), shape));
    layers.chain(ends).map(|(name, shape)| Ok((format!("{name}.weight"), zeros::<f32>(shape)?))).collect()
}
