//! The fields of models with a mixture of experts.

use serde::Deserialize;
use serde_json::Value;

/// Qwen3-MoE's own fields.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Qwen3MoeConfig {
    #[serde(flatten)]
    pub experts: ExpertConfig,
    /// A layer has experts if its number, counted from 1, is a multiple of this.
    #[serde(default = "one")]
    decoder_sparse_step: usize,
    /// Layers, counted from 0, that have a dense MLP all the same.
    #[serde(default)]
    mlp_only_layers: Vec<usize>,
}

/// The sizes of a mixture of experts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ExpertConfig {
    #[serde(alias = "num_local_experts", alias = "n_routed_experts")]
    pub num_experts: usize,
    /// Experts that compute each token.
    pub num_experts_per_tok: usize,
    /// Width inside an expert's MLP.
    pub moe_intermediate_size: usize,
    /// Whether the scores of a token's chosen experts are scaled to add up to 1.
    #[serde(default)]
    pub norm_topk_prob: bool,
}

fn one() -> usize {
    1
}

/// The sizes as written where no layer has a dense MLP: an expert's width then has the name of its width.
#[derive(Deserialize)]
struct WholeWidth {
    num_local_experts: usize,
    num_experts_per_tok: usize,
    intermediate_size: usize,
}

impl ExpertConfig {
    /// Reads the sizes where `intermediate_size` is an expert's width (MiniMax, gpt-oss). The weights of the chosen add up to 1.
    pub(super) fn of_whole_width(config: &Value) -> Result<Self, String> {
        let fields = WholeWidth::deserialize(config).map_err(|e| e.to_string())?;
        let found = Self {
            num_experts: fields.num_local_experts,
            num_experts_per_tok: fields.num_experts_per_tok,
            moe_intermediate_size: fields.intermediate_size,
            norm_topk_prob: true,
        };
        found.check()?;
        Ok(found)
    }

    /// Refuses numbers that cannot be.
    pub(super) fn check(&self) -> Result<(), String> {
        let (experts, chosen) = (self.num_experts, self.num_experts_per_tok);
        if chosen == 0 || chosen > experts {
            return Err(format!("num_experts_per_tok {chosen} is not between 1 and num_experts {experts}"));
        }
        Ok(())
    }
}

impl Qwen3MoeConfig {
    /// Reads the fields; the error names one that is missing or impossible.
    pub(super) fn parse(config: &Value) -> Result<Self, String> {
        let found = Self::deserialize(config).map_err(|e| e.to_string())?;
        found.experts.check()?;
        if found.decoder_sparse_step == 0 {
            return Err("decoder_sparse_step 0 is out of range".into());
        }
        Ok(found)
    }

    /// Whether a layer, counted from 0, has experts; the others have a dense MLP.
    pub fn has_experts(&self, layer: usize) -> bool {
        !self.mlp_only_layers.contains(&layer) && (layer + 1).is_multiple_of(self.decoder_sparse_step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(change: Value) -> Result<Qwen3MoeConfig, String> {
        let mut config = json!({"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32});
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Qwen3MoeConfig::parse(&config)
    }

    #[test]
    fn the_layers_with_experts_are_those_configured() {
        let layers = |change| {
            let config = parse(change).unwrap();
            (0..6).filter(|layer| config.has_experts(*layer)).collect::<Vec<_>>()
        };
        assert_eq!(layers(json!({})), [0, 1, 2, 3, 4, 5]);
        assert_eq!(layers(json!({"decoder_sparse_step": 2})), [1, 3, 5]);
        assert_eq!(layers(json!({"decoder_sparse_step": 2, "mlp_only_layers": [3]})), [1, 5]);
    }

    #[test]
    fn impossible_expert_counts_are_refused() {
        let reason = |change| parse(change).unwrap_err();
        assert_eq!(reason(json!({"num_experts_per_tok": 9})), "num_experts_per_tok 9 is not between 1 and num_experts 8");
        assert_eq!(reason(json!({"decoder_sparse_step": 0})), "decoder_sparse_step 0 is out of range");
    }
}
