//! How much memory a model will take, told from its configuration: for those who have not loaded it yet.

use anyclaude_kernels::PackedMatrix;

use super::model::{ComputePath, Config, MXFP4_SHIPPED_BITS, Storage, mxfp4_bits};
use super::schedule::device_memory::working_set;
use super::schedule::memory::usable;

/// Bytes of a number in f32.
const F32: f64 = 4.0;

/// Bits for the scale and the bias of a group of packed weights.
const GROUP_BITS: f64 = 32.0;

/// The memory that a model is expected to take, and what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryForecast {
    /// The weights, in bytes, as far as the configuration tells: to about a tenth.
    pub weights: u64,
    /// A token's keys and values in all layers, in bytes. The states of recurrent layers, which take some megabytes for each
    /// conversation, are not counted.
    pub token: u64,
    /// The model's context, in tokens.
    pub context: u64,
    /// What this machine has for both, in bytes; `None`: it does not tell.
    pub usable: Option<u64>,
}

impl MemoryForecast {
    /// Of a model whose weight files have this size, on the path that is made for this machine's device.
    ///
    /// # Errors
    /// MLX has no device.
    pub fn here(config: &Config, weight_bytes: u64) -> Result<Self, super::EngineError> {
        let path = ComputePath::of_device()?;
        Ok(Self {
            weights: weights_in_memory(config, weight_bytes, path),
            token: token_bytes(config, path),
            context: config.context as u64,
            usable: usable(working_set(path)).map(|bytes| bytes as u64),
        })
    }

    /// Tokens that fit beside the weights, at most as many as the context has; `None`: this machine does not tell. 0: the weights
    /// alone do not fit.
    pub fn tokens_that_fit(&self) -> Option<u64> {
        let left = self.usable?.saturating_sub(self.weights);
        Some((left / self.token.max(1)).min(self.context))
    }
}

/// On a GPU weights stay as they are. On the CPU they are f32, but for those that its kernels read packed. Both pack mxfp4 anew.
fn weights_in_memory(config: &Config, in_files: u64, path: ComputePath) -> u64 {
    let stored_bytes = match (path, config.quantization.usual()) {
        (path, Some(Storage::MxFp4)) => F32 * MXFP4_SHIPPED_BITS / mxfp4_bits(path) as f64,
        (ComputePath::Gpu, _) => F32,
        (ComputePath::Cpu, None) => config.plain_bytes as f64,
        (ComputePath::Cpu, Some(Storage::Affine(packing))) if PackedMatrix::takes(packing.bits) => F32,
        (ComputePath::Cpu, Some(Storage::Affine(packing))) => {
            (packing.bits as f64 + GROUP_BITS / packing.group_size as f64) / 8.0
        }
    };
    (in_files as f64 * F32 / stored_bytes).round() as u64
}

/// On the GPU path a running answer has a copy of what the prefix cache has.
fn token_bytes(config: &Config, path: ComputePath) -> u64 {
    let bytes = match path {
        ComputePath::Cpu => 4,
        ComputePath::Gpu => 2 * config.plain_bytes,
    };
    (config.kv_numbers() * bytes) as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::schedule::Sequence;
    use super::super::testing::{gemma4, glm_lite, hybrid, model_with};
    use super::*;

    #[test]
    fn a_token_takes_what_was_forecast() {
        for change in [json!({}), json!({"num_key_value_heads": 4, "num_hidden_layers": 3}), hybrid(), gemma4(), glm_lite()] {
            let (folder, model) = model_with(&change, ComputePath::Cpu);
            let config = Config::load(folder.path()).unwrap();
            assert_eq!(token_bytes(&config, ComputePath::Cpu), Sequence::memory(&model).unwrap().token as u64, "{change}");
        }
    }

    #[test]
    fn weights_take_what_the_path_makes_of_them() {
        let in_memory = |change: serde_json::Value, path| {
            let mut config = json!({
                "model_type": "qwen3", "vocab_size": 4096, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
                "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
                "max_position_embeddings": 4096,
            });
            config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            weights_in_memory(&Config::parse_text(&config.to_string()).unwrap(), 1_000, path)
        };
        let packed = |bits: u32| json!({"quantization": {"group_size": 64, "bits": bits}});
        for (change, on_cpu) in [
            (json!({"torch_dtype": "bfloat16"}), 2_000),
            (json!({"dtype": "float32"}), 1_000),
            (packed(4), 1_000),
            (packed(6), 4_923),
        ] {
            assert_eq!(in_memory(change.clone(), ComputePath::Cpu), on_cpu, "{change}");
            assert_eq!(in_memory(change, ComputePath::Gpu), 1_000);
        }
    }

    #[test]
    fn weights_in_mxfp4_become_larger_on_both_paths() {
        let config = json!({
            "model_type": "gpt_oss", "vocab_size": 4096, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
            "max_position_embeddings": 4096, "num_local_experts": 4, "num_experts_per_tok": 2,
            "quantization_config": {"quant_method": "mxfp4"},
        });
        let config = Config::parse_text(&config.to_string()).unwrap();
        let in_memory = |path| weights_in_memory(&config, 4_250, path);
        assert_eq!(ComputePath::ALL.map(in_memory), [10_000, 6_000]);
    }

    #[test]
    fn what_is_left_beside_the_weights_holds_tokens() {
        let forecast = MemoryForecast { weights: 600, token: 4, context: 50, usable: Some(700) };
        assert_eq!(forecast.tokens_that_fit(), Some(25));
        assert_eq!(MemoryForecast { usable: Some(10_000), ..forecast }.tokens_that_fit(), Some(50));
        assert_eq!(MemoryForecast { usable: Some(500), ..forecast }.tokens_that_fit(), Some(0));
        assert_eq!(MemoryForecast { usable: None, ..forecast }.tokens_that_fit(), None);
    }
}
