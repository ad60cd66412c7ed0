//! A model's `config.json` and `generation_config.json`, as far as the engine reads them.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::engine::EngineError;

/// The shape of a dense Qwen3 model.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub layers: usize,
    pub heads: usize,
    /// Divides `heads`: each key/value head serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    pub head_dim: usize,
    pub rms_norm_eps: f32,
    pub rope_theta: f32,
    /// Whether the embedding is also the output head.
    pub tied_head: bool,
    /// Tokens that prompt and answer may have together.
    pub context: usize,
}

/// `config.json` as it is written; what we cannot compute is found in it and refused.
#[derive(Deserialize)]
struct File {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: Option<usize>,
    rms_norm_eps: f32,
    rope_theta: Option<f32>,
    rope_scaling: Option<Rope>,
    /// Where transformers 5 keeps both of the above.
    rope_parameters: Option<Rope>,
    #[serde(default)]
    tie_word_embeddings: bool,
    max_position_embeddings: usize,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    use_sliding_window: bool,
    quantization: Option<Value>,
    quantization_config: Option<Value>,
}

#[derive(Deserialize)]
struct Rope {
    rope_theta: Option<f32>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
}

impl Config {
    /// Reads `config.json` of a model folder. The error names what the file lacks or what the engine cannot compute.
    pub fn load(dir: &Path) -> Result<Self, EngineError> {
        let path = dir.join("config.json");
        let value: Value = read_json(&path)?;
        Self::parse(value).map_err(|reason| EngineError::ModelFile { path, reason })
    }

    fn parse(value: Value) -> Result<Self, String> {
        match value.get("model_type").and_then(Value::as_str) {
            Some("qwen3") => {}
            Some(other) => return Err(format!("model_type {other:?} is not supported; the engine runs \"qwen3\"")),
            None => return Err("model_type is missing; the engine runs \"qwen3\"".into()),
        }
        let file: File = serde_json::from_value(value).map_err(|e| e.to_string())?;
        file.check()?;
        let rope_theta = file.rope_theta.or(file.rope_parameters.as_ref().and_then(|rope| rope.rope_theta));
        Ok(Self {
            vocab_size: file.vocab_size,
            hidden_size: file.hidden_size,
            intermediate_size: file.intermediate_size,
            layers: file.num_hidden_layers,
            heads: file.num_attention_heads,
            kv_heads: file.num_key_value_heads,
            head_dim: file.head_dim(),
            rms_norm_eps: file.rms_norm_eps,
            rope_theta: rope_theta.ok_or("rope_theta is missing")?,
            tied_head: file.tie_word_embeddings,
            context: file.max_position_embeddings,
        })
    }
}

impl File {
    fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Refuses sizes that fit no model, and features the engine would silently get wrong.
    fn check(&self) -> Result<(), String> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim()),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        if let Some((name, size)) = sizes.iter().find(|(_, size)| *size == 0 || i32::try_from(*size).is_err()) {
            return Err(format!("{name} {size} is out of range"));
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            let (heads, kv_heads) = (self.num_attention_heads, self.num_key_value_heads);
            return Err(format!("num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}"));
        }
        if !self.head_dim().is_multiple_of(2) {
            return Err(format!("head_dim {} is odd", self.head_dim()));
        }
        let scaling =
            [&self.rope_scaling, &self.rope_parameters].into_iter().flatten().find_map(|rope| rope.rope_type.as_deref());
        if let Some(kind) = scaling.filter(|kind| *kind != "default") {
            return Err(format!("RoPE scaling {kind:?} is not supported"));
        }
        if self.attention_bias {
            return Err("attention_bias is not supported".into());
        }
        if self.use_sliding_window {
            return Err("use_sliding_window is not supported".into());
        }
        if self.quantization.is_some() || self.quantization_config.is_some() {
            return Err("quantized weights are not supported; take the model's bf16 or f32 release".into());
        }
        Ok(())
    }
}

/// How to sample where a request does not say: `generation_config.json`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct GenerationConfig {
    /// `false` means greedy.
    pub do_sample: Option<bool>,
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub top_k: Option<u32>,
}

impl GenerationConfig {
    /// Reads `generation_config.json` of a model folder; a model without one has no defaults.
    pub fn load(dir: &Path) -> Result<Self, EngineError> {
        let path = dir.join("generation_config.json");
        if path.exists() { read_json(&path) } else { Ok(Self::default()) }
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, EngineError> {
    let failed = |reason: String| EngineError::ModelFile { path: path.into(), reason };
    let text = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
    serde_json::from_slice(&text).map_err(|e| failed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file() -> Value {
        json!({"model_type": "qwen3", "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
               "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
               "rope_scaling": null, "tie_word_embeddings": true, "max_position_embeddings": 4096})
    }

    fn parse_with(change: Value) -> Result<Config, String> {
        let mut file = file();
        file.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Config::parse(file)
    }

    #[test]
    fn both_places_of_rope_theta_are_read() {
        let old = parse_with(json!({})).unwrap();
        let new =
            parse_with(json!({"rope_theta": null, "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}})).unwrap();
        assert_eq!((old.rope_theta, &old), (1e6, &new));
    }

    #[test]
    fn what_the_engine_cannot_compute_is_refused_by_name() {
        let cases = [
            (json!({"model_type": "llama"}), "model_type \"llama\" is not supported; the engine runs \"qwen3\""),
            (json!({"rope_theta": null}), "rope_theta is missing"),
            (json!({"rope_scaling": {"rope_type": "yarn"}}), "RoPE scaling \"yarn\" is not supported"),
            (json!({"num_key_value_heads": 3}), "num_attention_heads 4 is not a multiple of num_key_value_heads 3"),
            (json!({"num_key_value_heads": 0}), "num_key_value_heads 0 is out of range"),
            (json!({"quantization": {"bits": 4}}), "quantized weights are not supported; take the model's bf16 or f32 release"),
        ];
        for (change, reason) in cases {
            assert_eq!(parse_with(change), Err(reason.to_string()));
        }
    }

    #[test]
    fn a_missing_field_is_named() {
        let mut file = file();
        file.as_object_mut().unwrap().remove("hidden_size");
        assert_eq!(Config::parse(file), Err("missing field `hidden_size`".into()));
    }

    #[test]
    fn a_model_without_generation_config_has_no_defaults() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(GenerationConfig::load(dir.path()).unwrap(), GenerationConfig::default());
    }
}
