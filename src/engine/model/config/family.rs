//! The model families, with the fields that only their own `config.json` has. What a family computes is in
//! `model/families`; the modules beside this one have the fields.

use serde::Deserialize;
use serde_json::Value;

use super::experts::{ExpertConfig, Qwen3MoeConfig};
use super::gemma4::Gemma4Config;
use super::glm::Glm4MoeConfig;
use super::glm_lite::GlmLiteConfig;
use super::gpt_oss;
use super::hybrid::HybridConfig;
use super::minimax::MiniMaxConfig;

/// A family of models.
#[derive(Clone, Debug, PartialEq)]
pub enum Family {
    Llama(LlamaConfig),
    Mistral,
    Qwen2,
    Qwen3,
    Qwen3Moe(Qwen3MoeConfig),
    Glm4Moe(Glm4MoeConfig),
    Glm4MoeLite(GlmLiteConfig),
    MiniMax(MiniMaxConfig),
    GptOss(ExpertConfig),
    Gemma4(Box<Gemma4Config>),
    Qwen3Next(HybridConfig),
    Qwen3_5(HybridConfig),
}

/// Llama's own fields.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct LlamaConfig {
    #[serde(default)]
    pub attention_bias: bool,
    #[serde(default)]
    pub mlp_bias: bool,
}

/// Where the `model_type` of the text model within another is kept while a configuration is read.
pub(super) const TEXT_MODEL_TYPE: &str = "text_model_type";

const KNOWN: &str = "the engine runs llama, mistral, qwen2, qwen3, qwen3_moe, qwen3_next, qwen3_5, qwen3_5_moe, glm4_moe, glm4_moe_lite, minimax_m2, gpt_oss, gemma4, ministral3 and mistral3";

impl Family {
    /// The family of a `config.json`, by its `model_type`; the error names what is unknown or missing.
    pub fn parse(config: &Value) -> Result<Self, String> {
        match config.get("model_type").and_then(Value::as_str) {
            Some("llama") => Ok(Self::Llama(LlamaConfig::deserialize(config).map_err(|e| e.to_string())?)),
            Some("mistral" | "ministral3") => Ok(Self::Mistral),
            // A model that also reads images, around one of several text models.
            Some("mistral3") => match config.get(TEXT_MODEL_TYPE).and_then(Value::as_str) {
                Some("mistral" | "ministral3") | None => Ok(Self::Mistral),
                Some(other) => Err(format!("mistral3 with a text model {other:?} is not supported; {KNOWN}")),
            },
            Some("qwen2") => Ok(Self::Qwen2),
            Some("qwen3") => Ok(Self::Qwen3),
            Some("qwen3_moe") => Qwen3MoeConfig::parse(config).map(Self::Qwen3Moe),
            Some("glm4_moe") => Glm4MoeConfig::parse(config).map(Self::Glm4Moe),
            Some("glm4_moe_lite") => GlmLiteConfig::parse(config).map(Self::Glm4MoeLite),
            Some("minimax_m2") => MiniMaxConfig::parse(config).map(Self::MiniMax),
            Some("gpt_oss") => gpt_oss::parse(config).map(Self::GptOss),
            Some("qwen3_next") => HybridConfig::parse(config).map(Self::Qwen3Next),
            // With `_text`: the text model alone, in a file of its own. Here and below.
            Some("gemma4" | "gemma4_text" | "gemma4_unified" | "gemma4_unified_text") => {
                Ok(Self::Gemma4(Box::new(Gemma4Config::parse(config)?)))
            }
            Some("qwen3_5" | "qwen3_5_text" | "qwen3_5_moe" | "qwen3_5_moe_text") => {
                HybridConfig::parse(config).map(Self::Qwen3_5)
            }
            Some(other) => Err(format!("model_type {other:?} is not supported; {KNOWN}")),
            None => Err(format!("model_type is missing; {KNOWN}")),
        }
    }
}

impl Family {
    /// Whether RoPE may turn a part of each head only.
    pub fn has_partial_rope(&self) -> bool {
        self.hybrid().is_some() || matches!(self, Self::Glm4Moe(_) | Self::MiniMax(_))
    }

    /// The fields of a family with recurrent layers; `None` for other families.
    pub fn hybrid(&self) -> Option<&HybridConfig> {
        match self {
            Self::Qwen3Next(own) | Self::Qwen3_5(own) => Some(own),
            Self::Llama(_)
            | Self::Mistral
            | Self::Qwen2
            | Self::Qwen3
            | Self::Qwen3Moe(_)
            | Self::Glm4Moe(_)
            | Self::Glm4MoeLite(_)
            | Self::MiniMax(_)
            | Self::GptOss(_)
            | Self::Gemma4(_) => None,
        }
    }

    /// The fields of Gemma 4; `None` for other families.
    pub fn gemma4(&self) -> Option<&Gemma4Config> {
        if let Self::Gemma4(own) = self { Some(own) } else { None }
    }

    /// Width inside an expert's MLP, where there are experts.
    pub fn expert_width(&self) -> Option<usize> {
        match self {
            Self::Qwen3Moe(own) => Some(own.experts.moe_intermediate_size),
            Self::Glm4Moe(own) => Some(own.feed_forward.experts.moe_intermediate_size),
            Self::Glm4MoeLite(own) => Some(own.feed_forward.experts.moe_intermediate_size),
            Self::MiniMax(own) => Some(own.experts.moe_intermediate_size),
            Self::GptOss(experts) => Some(experts.moe_intermediate_size),
            Self::Gemma4(own) => Some(own.experts.as_ref()?.moe_intermediate_size),
            _ => self.hybrid()?.experts.as_ref().map(|own| own.routed.experts.moe_intermediate_size),
        }
    }
}
