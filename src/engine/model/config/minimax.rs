//! The fields of MiniMax-M2.

use serde::Deserialize;
use serde_json::Value;

use super::experts::ExpertConfig;
use super::sigmoid_routing::SigmoidRouting;

/// MiniMax-M2's own fields.
#[derive(Clone, Debug, PartialEq)]
pub struct MiniMaxConfig {
    pub experts: ExpertConfig,
    pub routing: SigmoidRouting,
    /// Whether queries and keys are normed.
    pub use_qk_norm: bool,
}

/// The fields as written, without the experts' sizes.
#[derive(Deserialize)]
struct Fields {
    #[serde(flatten)]
    routing: SigmoidRouting,
    #[serde(default = "normed")]
    use_qk_norm: bool,
}

fn normed() -> bool {
    true
}

impl MiniMaxConfig {
    /// Reads the fields; the error names what is missing or not supported.
    pub(super) fn parse(config: &Value) -> Result<Self, String> {
        let Fields { routing, use_qk_norm } = Fields::deserialize(config).map_err(|e| e.to_string())?;
        routing.check()?;
        Ok(Self { experts: ExpertConfig::of_whole_width(config)?, routing, use_qk_norm })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_experts_width_is_the_configurations_width() {
        let mut config = json!({"num_local_experts": 8, "num_experts_per_tok": 2, "intermediate_size": 32,
                                "scoring_func": "sigmoid"});
        let found = MiniMaxConfig::parse(&config).unwrap();
        assert_eq!((found.experts.moe_intermediate_size, found.experts.norm_topk_prob, found.use_qk_norm), (32, true, true));
        config["scoring_func"] = json!("softmax");
        let reason = "scoring_func \"softmax\" is not supported; the engine computes \"sigmoid\"";
        assert_eq!(MiniMaxConfig::parse(&config), Err(reason.into()));
    }
}
