//! The fields of gpt-oss.

use serde::Deserialize;
use serde_json::Value;

use super::experts::ExpertConfig;

/// Where SwiGLU is clamped: the models that there are have no other limit.
const SWIGLU_LIMIT: f32 = 7.0;

/// The fields as written, without the experts' sizes; only read to refuse what would silently be computed otherwise.
#[derive(Deserialize)]
struct Fields {
    swiglu_limit: Option<f32>,
}

/// Reads the experts' sizes; the error names what is missing or not supported.
pub(super) fn parse(config: &Value) -> Result<ExpertConfig, String> {
    let Fields { swiglu_limit } = Fields::deserialize(config).map_err(|e| e.to_string())?;
    if let Some(other) = swiglu_limit.filter(|limit| *limit != SWIGLU_LIMIT) {
        return Err(format!("swiglu_limit {other} is not supported; the engine computes {SWIGLU_LIMIT}"));
    }
    ExpertConfig::of_whole_width(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn another_limit_is_refused() {
        let mut config = json!({"num_local_experts": 8, "num_experts_per_tok": 2, "intermediate_size": 32, "swiglu_limit": 7.0});
        assert_eq!(parse(&config).unwrap().moe_intermediate_size, 32);
        config["swiglu_limit"] = json!(6.5);
        assert_eq!(parse(&config), Err("swiglu_limit 6.5 is not supported; the engine computes 7".into()));
    }
}
