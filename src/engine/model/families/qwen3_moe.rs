//! Qwen3 with experts (Qwen3-30B-A3B, Qwen3-Coder): Qwen3's attention; a router sends each token to a few of many MLPs.

use serde::Deserialize;
use serde_json::Value;

use super::{arguments, qwen3};
use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::block::{Block, Feed};
use crate::engine::model::experts::Experts;
use crate::engine::model::layers::Mlp;
use crate::engine::model::weights::Weights;

/// What only configurations with experts say.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Arguments {
    #[serde(alias = "num_local_experts")]
    pub num_experts: usize,
    /// Experts that a token goes to.
    pub num_experts_per_tok: usize,
    pub moe_intermediate_size: usize,
    /// Whether the chosen experts' shares are made to add up to 1.
    #[serde(default)]
    pub norm_topk_prob: bool,
    /// Every so many layers has experts.
    #[serde(default = "one")]
    decoder_sparse_step: usize,
    /// Layers without experts all the same.
    #[serde(default)]
    mlp_only_layers: Vec<usize>,
}

fn one() -> usize {
    1
}

impl Arguments {
    /// Reads them from a `config.json`.
    pub fn parse(config: &Value) -> Result<Self, String> {
        let found: Self = arguments(config)?;
        let (experts, chosen) = (found.num_experts, found.num_experts_per_tok);
        if chosen == 0 || chosen > experts {
            return Err(format!("num_experts_per_tok {chosen} is not between 1 and num_experts {experts}"));
        }
        if found.decoder_sparse_step == 0 {
            return Err("decoder_sparse_step 0 is out of range".into());
        }
        Ok(found)
    }

    fn has_experts(&self, layer: usize) -> bool {
        !self.mlp_only_layers.contains(&layer) && (layer + 1).is_multiple_of(self.decoder_sparse_step)
    }
}

/// Attention and experts, or a gated MLP where the layer has none, each after a norm.
pub fn block(weights: &mut Weights, layer: usize, config: &Config, arguments: &Arguments) -> Result<Block, EngineError> {
    let path = format!("model.layers.{layer}");
    let attention = qwen3::attention(weights, layer, config)?;
    let mlp = format!("{path}.mlp");
    let feed = if arguments.has_experts(layer) {
        Feed::Experts(Experts::load(weights, &mlp, config, arguments)?)
    } else {
        Feed::Dense(Mlp::load(weights, &mlp, config, false)?)
    };
    Block::load(weights, &path, config, attention, feed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(change: Value) -> Result<Arguments, String> {
        let mut config = json!({"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32});
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Arguments::parse(&config)
    }

    #[test]
    fn the_layers_with_experts_are_those_configured() {
        let layers = |change| {
            let arguments = parse(change).unwrap();
            (0..6).filter(|layer| arguments.has_experts(*layer)).collect::<Vec<_>>()
        };
        assert_eq!(layers(json!({})), [0, 1, 2, 3, 4, 5]);
        assert_eq!(layers(json!({"decoder_sparse_step": 2})), [1, 3, 5]);
        assert_eq!(layers(json!({"decoder_sparse_step": 2, "mlp_only_layers": [3]})), [1, 5]);
    }

    #[test]
    fn a_choice_that_cannot_be_made_is_refused() {
        let reason = |change| parse(change).unwrap_err();
        assert_eq!(reason(json!({"num_experts_per_tok": 9})), "num_experts_per_tok 9 is not between 1 and num_experts 8");
        assert_eq!(reason(json!({"decoder_sparse_step": 0})), "decoder_sparse_step 0 is out of range");
    }
}
