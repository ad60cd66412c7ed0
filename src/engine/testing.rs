//! Helpers of the engine's tests: tiny model folders with random but reproducible weights, and requests for them.

mod gemma4;
mod glm_lite;

use std::path::Path;

use mlx_rs::{Array, random};
use proptest::test_runner::{Config as ProptestConfig, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

pub use self::gemma4::gemma4;
pub use self::glm_lite::glm_lite;
use super::decode::{AnswerDecoders, ToolFormatName};
use super::model::{ComputePath, Config, KvCache, KvSegment, KvShape, LayerKv, LoadListener, Model};
use super::text::{Tokenizer, tiny_model};
use super::{Generation, Sampler, Sampling};
use crate::wire::{MessagesRequest, TopLogprobs};

/// The random model's context, in tokens.
pub const CONTEXT: usize = 4096;

/// Writes a model folder: random weights, and the tokenizer of the committed model.
pub fn write_model(dir: &Path) {
    write_model_with(dir, &json!({}));
}

/// The same with some fields of `config.json` replaced: another family, other sizes.
pub fn write_model_with(dir: &Path, change: &Value) {
    // Two layers, grouped heads, tied head.
    let mut config = json!({
        "model_type": "qwen3", "vocab_size": 4096, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "tie_word_embeddings": true, "max_position_embeddings": CONTEXT,
    });
    config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    for file in ["generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(tiny_model().join(file), dir.join(file)).unwrap();
    }
    Array::save_safetensors(tensors(&config), None, dir.join("model.safetensors")).unwrap();
}

/// A random model with some fields of `config.json` replaced, loaded for a compute path, and its folder.
pub fn model_with(change: &Value, path: ComputePath) -> (tempfile::TempDir, Model) {
    let dir = tempfile::tempdir().unwrap();
    write_model_with(dir.path(), change);
    let model = Model::load(dir.path(), path, &LoadListener::default()).unwrap();
    (dir, model)
}

/// The token that ends messages for [`hybrid`]: the 64th of [`prompt`].
const HYBRID_END: u32 = 63 * 7919 % 251;

/// What makes the random model one of recurrent layers and layers with attention in turn. [`prompt`] has a resume point after its
/// 64th token.
pub fn hybrid() -> Value {
    json!({
        "model_type": "qwen3_5", "num_hidden_layers": 4, "full_attention_interval": 2, "linear_num_key_heads": 2,
        "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 12, "linear_conv_kernel_dim": 4,
        "partial_rotary_factor": 0.5, "eos_token_id": HYBRID_END,
    })
}

/// A greedy answer without tools, for a model folder that [`write_model`] wrote.
pub fn generation(dir: &Path, prompt: &[u32], max_tokens: usize) -> Generation {
    sampled(dir, prompt, max_tokens, Sampling::GREEDY)
}

/// The same with other sampling parameters.
pub fn sampled(dir: &Path, prompt: &[u32], max_tokens: usize, sampling: Sampling) -> Generation {
    asked(dir, &json!({}), prompt, max_tokens, sampling)
}

/// The same for a request with more `fields`, such as tools or stop sequences.
pub fn asked(dir: &Path, fields: &Value, prompt: &[u32], max_tokens: usize, sampling: Sampling) -> Generation {
    asked_with_logprobs(dir, fields, prompt, max_tokens, sampling, None)
}

/// The same for a request that asks for log-probabilities.
pub fn asked_with_logprobs(
    dir: &Path,
    fields: &Value,
    prompt: &[u32],
    max_tokens: usize,
    sampling: Sampling,
    top_logprobs: Option<TopLogprobs>,
) -> Generation {
    let mut request = json!({"model": "m", "messages": [], "max_tokens": 1});
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let request = MessagesRequest { top_logprobs, ..serde_json::from_value(request).unwrap() };
    let decoders = AnswerDecoders::new(Tokenizer::load(dir).unwrap(), ToolFormatName::Hermes.format()).unwrap();
    Generation {
        prompt: prompt.to_vec(),
        max_tokens,
        decoder: decoders.start(&request, None).unwrap(),
        sampler: Sampler::new(sampling, prompt),
    }
}

/// Key/value heads and head width of the random model.
const KV_SIZES: (usize, usize) = (2, 16);

/// The sizes of the random model's segments.
pub fn kv_shape() -> KvShape {
    let dir = tempfile::tempdir().unwrap();
    write_model(dir.path());
    KvShape::of(&Config::load(dir.path()).unwrap())
}

/// A segment's keys and values for the random model; all numbers of a token are its id.
pub fn kv_of(tokens: &[u32]) -> KvSegment {
    let (heads, width) = KV_SIZES;
    let of_head = || tokens.iter().flat_map(|token| vec![*token as f32; width]);
    let numbers: Vec<f32> = (0..heads).flat_map(|_| of_head()).collect();
    let array = Array::from_slice(&numbers, &[1, heads as i32, tokens.len() as i32, width as i32]);
    let kv = LayerKv { keys: array.clone(), values: Some(array) };
    let mut cache = KvCache::new(2, ComputePath::Cpu);
    (0..2).for_each(|layer| drop(cache.append(layer, &kv).unwrap()));
    cache.advance(tokens.len());
    cache.seal().unwrap();
    cache.segments()[0].payload.clone()
}

/// Keys and values of [`prompt`]`(tokens)`.
pub fn kv(tokens: usize) -> KvSegment {
    kv_of(&prompt(tokens))
}

/// The tokens that [`kv_of`] was given.
pub fn first_keys(kv: &KvSegment) -> Vec<f32> {
    let keys = &kv.tensors().unwrap()[0].1;
    keys.as_slice::<f32>().iter().step_by(KV_SIZES.1).take(keys.dim(2) as usize).copied().collect()
}

/// Runs a property on the same cases each time.
pub fn same_cases(cases: u32) -> TestRunner {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// A prompt; a shorter one is a prefix of every longer one.
pub fn prompt(tokens: usize) -> Vec<u32> {
    (0..tokens as u32).map(|n| n.wrapping_mul(7919) % 251).collect()
}

/// Random tensors under all names that any family may load.
fn tensors(config: &Value) -> Vec<(String, Array)> {
    let size = |name: &str| config[name].as_i64().unwrap_or(0) as i32;
    let (vocab, hidden, inner, width) = (size("vocab_size"), size("hidden_size"), size("intermediate_size"), size("head_dim"));
    let (queries, keys) = (size("num_attention_heads") * width, size("num_key_value_heads") * width);
    let (delta_heads, delta_width) = (size("linear_num_value_heads"), size("linear_value_head_dim"));
    let delta_values = delta_heads * delta_width;
    let channels = 2 * size("linear_num_key_heads") * size("linear_key_head_dim") + delta_values;
    // A hybrid's query projection has gates too.
    let queries_and_gates = if delta_heads > 0 { 2 * queries } else { queries };
    let (experts, small) = (size("num_experts"), size("moe_intermediate_size"));
    let mut shapes = vec![("model.embed_tokens.weight".to_string(), vec![vocab, hidden])];
    shapes.push(("model.norm.weight".into(), vec![hidden]));
    let own_shapes = match config["model_type"].as_str() {
        Some("gemma4_text") => Some(gemma4::shapes(config)),
        Some("glm4_moe_lite") => Some(glm_lite::shapes(config)),
        _ => None,
    };
    let usual_layers = if own_shapes.is_some() { 0 } else { size("num_hidden_layers") };
    shapes.extend(own_shapes.into_iter().flatten());
    for layer in 0..usual_layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        shapes.extend([
            (name("input_layernorm.weight"), vec![hidden]),
            (name("post_attention_layernorm.weight"), vec![hidden]),
            (name("self_attn.q_norm.weight"), vec![width]),
            (name("self_attn.k_norm.weight"), vec![width]),
            (name("self_attn.q_proj.weight"), vec![queries_and_gates, hidden]),
            (name("self_attn.k_proj.weight"), vec![keys, hidden]),
            (name("self_attn.v_proj.weight"), vec![keys, hidden]),
            (name("self_attn.o_proj.weight"), vec![hidden, queries]),
            (name("mlp.gate_proj.weight"), vec![inner, hidden]),
            (name("mlp.up_proj.weight"), vec![inner, hidden]),
            (name("mlp.down_proj.weight"), vec![hidden, inner]),
        ]);
        if config["model_type"] == "qwen2" {
            let biases = [("q", queries), ("k", keys), ("v", keys)];
            shapes.extend(biases.map(|(part, size)| (name(&format!("self_attn.{part}_proj.bias")), vec![size])));
        }
        if delta_heads > 0 {
            shapes.extend([
                (name("linear_attn.in_proj_qkv.weight"), vec![channels, hidden]),
                (name("linear_attn.in_proj_z.weight"), vec![delta_values, hidden]),
                (name("linear_attn.in_proj_b.weight"), vec![delta_heads, hidden]),
                (name("linear_attn.in_proj_a.weight"), vec![delta_heads, hidden]),
                (name("linear_attn.conv1d.weight"), vec![channels, size("linear_conv_kernel_dim"), 1]),
                (name("linear_attn.A_log"), vec![delta_heads]),
                (name("linear_attn.dt_bias"), vec![delta_heads]),
                (name("linear_attn.norm.weight"), vec![delta_width]),
                (name("linear_attn.out_proj.weight"), vec![hidden, delta_values]),
            ]);
        }
        if experts > 0 {
            shapes.extend([
                (name("mlp.gate.weight"), vec![experts, hidden]),
                (name("mlp.switch_mlp.gate_proj.weight"), vec![experts, small, hidden]),
                (name("mlp.switch_mlp.up_proj.weight"), vec![experts, small, hidden]),
                (name("mlp.switch_mlp.down_proj.weight"), vec![experts, hidden, small]),
            ]);
        }
    }
    let random_tensor = |(index, (name, shape)): (usize, (String, Vec<i32>))| {
        let key = random::key(index as u64).unwrap();
        // Norm weights around 1; the others so large that distant tokens change the logits.
        let is_factor = name.contains("norm") || name.contains("scale") || name.contains("scalar");
        let (mean, deviation) = if is_factor { (1.0, 0.1) } else { (0.0, 0.2) };
        (name, random::normal::<f32>(&shape[..], mean, deviation, &key).unwrap())
    };
    shapes.into_iter().enumerate().map(random_tensor).collect()
}

/// Normally distributed numbers; the same seed gives the same ones.
pub fn normal(shape: &[i32], seed: u64) -> Array {
    random::normal::<f32>(shape, 0.0, 1.5, &random::key(seed).unwrap()).unwrap()
}

/// The largest absolute value.
pub fn largest(array: &Array) -> f32 {
    array.abs().unwrap().max(false).unwrap().item_exact()
}
