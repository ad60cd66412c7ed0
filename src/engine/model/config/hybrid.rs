//! The fields of models in which recurrent layers and attention layers alternate: Qwen3-Next, Qwen3.5 and 3.6.

use serde::Deserialize;
use serde_json::Value;

use super::experts::Qwen3MoeConfig;

/// The sizes of a gated delta net, the recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct DeltaConfig {
    /// Heads of queries and keys.
    #[serde(rename = "linear_num_key_heads")]
    pub key_heads: usize,
    /// Heads of values, each with a state of its own; `value_heads / key_heads` consecutive ones share a key head.
    #[serde(rename = "linear_num_value_heads")]
    pub value_heads: usize,
    /// Width of a query or key.
    #[serde(rename = "linear_key_head_dim")]
    pub key_width: usize,
    /// Width of a value.
    #[serde(rename = "linear_value_head_dim")]
    pub value_width: usize,
    /// Tokens that the convolution sees, the newest included.
    #[serde(rename = "linear_conv_kernel_dim")]
    pub conv_tokens: usize,
}

/// What hybrid families have of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct HybridConfig {
    pub delta: DeltaConfig,
    /// For each layer, counted from 0, whether it is recurrent; the others have attention.
    pub recurrent: Vec<bool>,
    /// The experts, with the width of the one that all tokens share; `None`: all layers have a dense MLP.
    pub experts: Option<SharedExpertConfig>,
}

/// A mixture of experts beside an expert that computes every token.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedExpertConfig {
    pub routed: Qwen3MoeConfig,
    /// Width inside the shared expert's MLP.
    pub shared_width: usize,
}

/// The fields as written.
#[derive(Deserialize)]
struct HybridFields {
    #[serde(flatten)]
    delta: DeltaConfig,
    num_hidden_layers: usize,
    layer_types: Option<Vec<String>>,
    #[serde(default = "every_fourth")]
    full_attention_interval: usize,
    #[serde(default)]
    num_experts: usize,
    #[serde(default)]
    shared_expert_intermediate_size: usize,
}

/// Every fourth layer has attention unless the configuration says otherwise.
fn every_fourth() -> usize {
    4
}

/// The name of a recurrent layer in `layer_types`.
pub(super) const RECURRENT: &str = "linear_attention";

impl DeltaConfig {
    /// Channels of the convolution: queries, keys and values side by side.
    pub fn channels(&self) -> usize {
        2 * self.key_heads * self.key_width + self.value_heads * self.value_width
    }

    fn check(&self) -> Result<(), String> {
        let sizes = [
            ("linear_num_key_heads", self.key_heads),
            ("linear_num_value_heads", self.value_heads),
            ("linear_key_head_dim", self.key_width),
            ("linear_value_head_dim", self.value_width),
        ];
        if let Some((name, size)) = sizes.iter().find(|(_, size)| *size == 0 || *size > 1 << 20) {
            return Err(format!("{name} {size} is out of range"));
        }
        if self.conv_tokens < 2 || self.conv_tokens > 1 << 10 {
            return Err(format!("linear_conv_kernel_dim {} is out of range", self.conv_tokens));
        }
        let (keys, values) = (self.key_heads, self.value_heads);
        if !values.is_multiple_of(keys) {
            return Err(format!("linear_num_value_heads {values} is not a multiple of linear_num_key_heads {keys}"));
        }
        Ok(())
    }
}

impl HybridConfig {
    /// Reads the fields; the error names what is missing or impossible.
    pub(super) fn parse(config: &Value) -> Result<Self, String> {
        let fields = HybridFields::deserialize(config).map_err(|e| e.to_string())?;
        fields.delta.check()?;
        let (layers, interval) = (fields.num_hidden_layers, fields.full_attention_interval);
        let recurrent: Vec<bool> = match &fields.layer_types {
            Some(types) if types.len() != layers => {
                return Err(format!("layer_types has {} entries for {layers} layers", types.len()));
            }
            Some(types) => types.iter().map(|kind| kind == RECURRENT).collect(),
            None if interval == 0 => return Err("full_attention_interval 0 is out of range".into()),
            None => (1..=layers).map(|number| !number.is_multiple_of(interval)).collect(),
        };
        if !recurrent.contains(&false) {
            return Err("no layer has attention".into());
        }
        let shared_width = fields.shared_expert_intermediate_size;
        let experts = match fields.num_experts {
            0 => None,
            _ if shared_width == 0 => return Err("shared_expert_intermediate_size is missing".into()),
            _ => Some(SharedExpertConfig { routed: Qwen3MoeConfig::parse(config)?, shared_width }),
        };
        Ok(Self { delta: fields.delta, recurrent, experts })
    }

    /// Number of recurrent layers.
    pub fn recurrent_layers(&self) -> usize {
        self.recurrent.iter().filter(|recurrent| **recurrent).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(change: Value) -> Result<HybridConfig, String> {
        let mut config = json!({
            "num_hidden_layers": 4, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
            "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4,
        });
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        HybridConfig::parse(&config)
    }

    #[test]
    fn the_recurrent_layers_are_those_configured() {
        let layers = |change| parse(change).unwrap().recurrent;
        assert_eq!(layers(json!({})), [true, true, true, false]);
        assert_eq!(layers(json!({"full_attention_interval": 2})), [true, false, true, false]);
        let types = json!(["full_attention", "linear_attention", "linear_attention", "linear_attention"]);
        assert_eq!(layers(json!({"layer_types": types})), [false, true, true, true]);
        assert_eq!(parse(json!({})).unwrap().delta.channels(), 2 * 16 + 64);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let reason = |change| parse(change).unwrap_err();
        assert_eq!(
            reason(json!({"linear_num_value_heads": 3})),
            "linear_num_value_heads 3 is not a multiple of linear_num_key_heads 2"
        );
        assert_eq!(reason(json!({"linear_key_head_dim": 0})), "linear_key_head_dim 0 is out of range");
        assert_eq!(reason(json!({"linear_conv_kernel_dim": 1})), "linear_conv_kernel_dim 1 is out of range");
        assert_eq!(reason(json!({"full_attention_interval": 0})), "full_attention_interval 0 is out of range");
        assert_eq!(reason(json!({"full_attention_interval": 9})), "no layer has attention");
        assert_eq!(reason(json!({"layer_types": ["full_attention"]})), "layer_types has 1 entries for 4 layers");
        assert_eq!(reason(json!({"num_experts": 8})), "shared_expert_intermediate_size is missing");
    }
}
