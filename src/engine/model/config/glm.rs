//! The fields of GLM-4.5 to 4.7.

use serde::Deserialize;
use serde_json::Value;

use super::experts::ExpertConfig;
use super::sigmoid_routing::SigmoidRouting;

/// GLM-4.5's own fields.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Glm4MoeConfig {
    #[serde(flatten)]
    pub feed_forward: GlmExpertConfig,
    /// Whether the projections of queries, keys and values have a bias.
    #[serde(default)]
    pub attention_bias: bool,
    /// Whether queries and keys are normed.
    #[serde(default)]
    pub use_qk_norm: bool,
}

/// The experts of all GLMs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct GlmExpertConfig {
    #[serde(flatten)]
    pub experts: ExpertConfig,
    #[serde(flatten)]
    pub routing: SigmoidRouting,
    /// Experts that compute every token; side by side they are one, as wide as all of them.
    pub n_shared_experts: Option<usize>,
    /// The first layers, which have a dense MLP.
    #[serde(default)]
    pub first_k_dense_replace: usize,
}

impl GlmExpertConfig {
    /// Refuses what cannot be, or would silently be computed otherwise.
    pub(super) fn check(&self) -> Result<(), String> {
        self.experts.check()?;
        self.routing.check()
    }
}

impl Glm4MoeConfig {
    /// Reads the fields; the error names what is missing or not supported.
    pub(super) fn parse(config: &Value) -> Result<Self, String> {
        let found = Self::deserialize(config).map_err(|e| e.to_string())?;
        found.feed_forward.check()?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(change: Value) -> Result<Glm4MoeConfig, String> {
        let mut config = json!({"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
                                "n_group": 1, "topk_group": 1});
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Glm4MoeConfig::parse(&config)
    }

    #[test]
    fn fields_that_are_missing_have_their_defaults() {
        let Glm4MoeConfig { feed_forward, use_qk_norm, .. } = parse(json!({})).unwrap();
        assert_eq!(
            (feed_forward.experts.num_experts, feed_forward.n_shared_experts, feed_forward.first_k_dense_replace),
            (8, None, 0)
        );
        assert_eq!((feed_forward.routing.routed_scaling_factor, use_qk_norm), (1.0, false));
    }

    #[test]
    fn other_routers_are_refused() {
        for (change, reason) in [
            (json!({"n_group": 4}), "n_group 4 is not supported; the engine chooses among all experts"),
            (json!({"scoring_func": "softmax"}), "scoring_func \"softmax\" is not supported; the engine computes \"sigmoid\""),
            (json!({"topk_method": "greedy"}), "topk_method \"greedy\" is not supported; the engine computes \"noaux_tc\""),
            (json!({"num_experts_per_tok": 0}), "num_experts_per_tok 0 is not between 1 and num_experts 8"),
        ] {
            assert_eq!(parse(change).unwrap_err(), reason);
        }
    }
}
