//! The fields of GLM-4.7-Flash.

use serde::Deserialize;
use serde_json::Value;

use super::glm::GlmExpertConfig;

/// GLM-4.7-Flash's own fields.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct GlmLiteConfig {
    #[serde(flatten)]
    pub feed_forward: GlmExpertConfig,
    #[serde(flatten)]
    pub latent: LatentConfig,
    /// Only read to refuse another one.
    moe_layer_freq: Option<usize>,
}

/// The sizes of attention through a latent space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct LatentConfig {
    /// Numbers of the space between a token and its queries; `None`: queries are projected at once.
    pub q_lora_rank: Option<usize>,
    /// Numbers of the space between a token and its keys and values: of what is kept of it.
    pub kv_lora_rank: usize,
    /// Numbers of a head's query that RoPE does not turn.
    pub qk_nope_head_dim: usize,
    /// Numbers that it turns; of keys, the same for all heads.
    pub qk_rope_head_dim: usize,
    /// Numbers of a head's value.
    pub v_head_dim: usize,
    /// Whether the first projections have a bias.
    #[serde(default)]
    pub attention_bias: bool,
}

impl LatentConfig {
    /// Numbers of a head's query.
    pub fn query_width(&self) -> usize {
        self.qk_nope_head_dim + self.qk_rope_head_dim
    }

    /// Numbers of a token's key, whose beginning is its value.
    pub fn key_width(&self) -> usize {
        self.kv_lora_rank + self.qk_rope_head_dim
    }

    fn check(&self) -> Result<(), String> {
        let sizes = [
            ("q_lora_rank", self.q_lora_rank.unwrap_or(1)),
            ("kv_lora_rank", self.kv_lora_rank),
            ("qk_nope_head_dim", self.qk_nope_head_dim),
            ("qk_rope_head_dim", self.qk_rope_head_dim),
            ("v_head_dim", self.v_head_dim),
        ];
        if let Some((name, size)) = sizes.iter().find(|(_, size)| *size == 0 || *size > 1 << 20) {
            return Err(format!("{name} {size} is out of range"));
        }
        if !self.qk_rope_head_dim.is_multiple_of(2) {
            return Err(format!("qk_rope_head_dim {} is odd", self.qk_rope_head_dim));
        }
        Ok(())
    }
}

impl GlmLiteConfig {
    /// Reads the fields; the error names what is missing or not supported.
    pub(super) fn parse(config: &Value) -> Result<Self, String> {
        let found = Self::deserialize(config).map_err(|e| e.to_string())?;
        found.feed_forward.check()?;
        found.latent.check()?;
        if let Some(other) = found.moe_layer_freq.filter(|every| *every != 1) {
            return Err(format!(
                "moe_layer_freq {other} is not supported; the engine has experts in every layer after the first"
            ));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(change: Value) -> Result<GlmLiteConfig, String> {
        let mut config = json!({"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "q_lora_rank": 16,
                                "kv_lora_rank": 32, "qk_nope_head_dim": 24, "qk_rope_head_dim": 8, "v_head_dim": 20});
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        GlmLiteConfig::parse(&config)
    }

    #[test]
    fn a_key_holds_its_value_and_what_rope_turns() {
        let latent = parse(json!({})).unwrap().latent;
        assert_eq!((latent.query_width(), latent.key_width()), (32, 40));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (change, reason) in [
            (json!({"kv_lora_rank": 0}), "kv_lora_rank 0 is out of range"),
            (json!({"qk_rope_head_dim": 7}), "qk_rope_head_dim 7 is odd"),
            (json!({"n_group": 4}), "n_group 4 is not supported; the engine chooses among all experts"),
            (
                json!({"moe_layer_freq": 2}),
                "moe_layer_freq 2 is not supported; the engine has experts in every layer after the first",
            ),
        ] {
            assert_eq!(parse(change).unwrap_err(), reason);
        }
    }
}
