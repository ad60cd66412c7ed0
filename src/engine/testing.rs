//! For the engine's tests: a model folder, tiny, random, always the same, and answers to ask it for.

use std::path::Path;

use mlx_rs::{Array, random};
use serde_json::json;

use super::answer::{AnswerDecoders, ToolFormatName};
use super::model::{KvCache, KvSegment};
use super::text::{Tokenizer, tiny_model};
use super::{Generation, Sampler, Sampling};

/// Sizes of the test model. Two layers, grouped heads, tied head.
const VOCAB: i32 = 4096;
const HIDDEN: i32 = 32;
const INNER: i32 = 48;
const LAYERS: i32 = 2;
const HEADS: i32 = 4;
const KV_HEADS: i32 = 2;
const HEAD_DIM: i32 = 16;
/// Most tokens of a prompt and its answer.
pub const CONTEXT: usize = 4096;

/// Writes a model folder: random weights, and the tokenizer of the committed model.
pub fn write_model(dir: &Path) {
    let config = json!({
        "model_type": "qwen3", "vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size": INNER,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true, "max_position_embeddings": CONTEXT,
    });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    for file in ["generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(tiny_model().join(file), dir.join(file)).unwrap();
    }
    Array::save_safetensors(tensors(), None, dir.join("model.safetensors")).unwrap();
}

/// A greedy answer without tools, for a model folder that [`write_model`] wrote.
pub fn generation(dir: &Path, prompt: &[u32], max_tokens: usize) -> Generation {
    let request = serde_json::from_value(json!({"model": "m", "messages": [], "max_tokens": 1})).unwrap();
    let decoders = AnswerDecoders::new(Tokenizer::load(dir).unwrap(), ToolFormatName::Hermes.format("")).unwrap();
    Generation {
        prompt: prompt.to_vec(),
        max_tokens,
        decoder: decoders.start(&request, false).unwrap(),
        sampler: Sampler::new(Sampling::GREEDY, prompt),
    }
}

/// Keys and values of so many tokens in two layers; which token each is of can be seen in them.
pub fn kv_of(tokens: &[u32]) -> KvSegment {
    let numbers: Vec<f32> = tokens.iter().map(|token| *token as f32).collect();
    let array = Array::from_slice(&numbers, &[1, 1, tokens.len() as i32, 1]);
    let mut cache = KvCache::new(2);
    (0..2).for_each(|layer| drop(cache.append(layer, &array, &array).unwrap()));
    cache.advance(tokens.len());
    cache.seal().unwrap();
    cache.segments()[0].payload.clone()
}

/// Keys and values of any so many tokens.
pub fn kv(tokens: usize) -> KvSegment {
    kv_of(&prompt(tokens))
}

/// What [`kv_of`] was given.
pub fn first_keys(kv: &KvSegment) -> Vec<f32> {
    kv.tensors().unwrap()[0].1.as_slice::<f32>().to_vec()
}

/// Some prompt; a shorter one is a prefix of a longer one.
pub fn prompt(tokens: usize) -> Vec<u32> {
    (0..tokens as u32).map(|n| n.wrapping_mul(7919) % 251).collect()
}

fn tensors() -> Vec<(String, Array)> {
    let mut shapes = vec![("model.embed_tokens".to_string(), vec![VOCAB, HIDDEN]), ("model.norm".into(), vec![HIDDEN])];
    for layer in 0..LAYERS {
        let name = |part| format!("model.layers.{layer}.{part}");
        shapes.extend([
            (name("input_layernorm"), vec![HIDDEN]),
            (name("post_attention_layernorm"), vec![HIDDEN]),
            (name("self_attn.q_norm"), vec![HEAD_DIM]),
            (name("self_attn.k_norm"), vec![HEAD_DIM]),
            (name("self_attn.q_proj"), vec![HEADS * HEAD_DIM, HIDDEN]),
            (name("self_attn.k_proj"), vec![KV_HEADS * HEAD_DIM, HIDDEN]),
            (name("self_attn.v_proj"), vec![KV_HEADS * HEAD_DIM, HIDDEN]),
            (name("self_attn.o_proj"), vec![HIDDEN, HEADS * HEAD_DIM]),
            (name("mlp.gate_proj"), vec![INNER, HIDDEN]),
            (name("mlp.up_proj"), vec![INNER, HIDDEN]),
            (name("mlp.down_proj"), vec![HIDDEN, INNER]),
        ]);
    }
    let random_tensor = |(index, (name, shape)): (usize, (String, Vec<i32>))| {
        let key = random::key(index as u64).unwrap();
        // Norm weights around 1; the others large enough that tokens far back matter.
        let (mean, deviation) = if shape.len() == 1 { (1.0, 0.1) } else { (0.0, 0.2) };
        (format!("{name}.weight"), random::normal::<f32>(&shape[..], mean, deviation, &key).unwrap())
    };
    shapes.into_iter().enumerate().map(random_tensor).collect()
}
