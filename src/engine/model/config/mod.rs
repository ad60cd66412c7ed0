//! A model's `config.json`: what all families have in common, checked and with defaults filled in. `family` and the modules that
//! it uses hold what only some have, `generation_config` reads the sampling defaults.

mod experts;
mod family;
mod gemma4;
mod generation_config;
mod glm;
mod glm_lite;
mod gpt_oss;
mod hybrid;
mod kv_shape;
mod minimax;
mod sigmoid_routing;

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

pub(super) use self::experts::{ExpertConfig, Qwen3MoeConfig};
pub(super) use self::family::{Family, LlamaConfig};
pub(super) use self::gemma4::{Gemma4Config, LayerInputConfig};
pub use self::generation_config::GenerationConfig;
pub(super) use self::glm::{Glm4MoeConfig, GlmExpertConfig};
pub(super) use self::glm_lite::{GlmLiteConfig, LatentConfig};
pub(super) use self::hybrid::{DeltaConfig, HybridConfig, SharedExpertConfig};
pub(super) use self::kv_shape::{KvLayerShape, ValueShape};
pub(super) use self::minimax::MiniMaxConfig;
pub(super) use self::sigmoid_routing::SigmoidRouting;
use super::json_file::read_json;
use super::quantization::Quantization;
use super::rope::{QueryScaling, RopeConfig, RopeFields, Scaling};
use crate::engine::EngineError;

/// A model's architecture and sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Which architecture, with the fields that it alone has.
    pub family: Family,
    /// Rows of the embedding; the tokenizer may know fewer tokens.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width within an MLP.
    pub intermediate_size: usize,
    /// Number of transformer blocks.
    pub layers: usize,
    /// Query heads of each layer.
    pub heads: usize,
    /// Key/value heads of grouped-query attention; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Added to the mean square before its root is taken.
    pub rms_norm_eps: f32,
    /// How rotary position embeddings turn queries and keys.
    pub rope: RopeConfig,
    /// Whether the embedding is also the LM head; `None`: only if the weights have no `lm_head`.
    pub tied_head: Option<bool>,
    /// Each layer's sliding window: how many tokens a token sees, itself included; `None`: all before it.
    pub windows: Vec<Option<i32>>,
    /// Most tokens of a prompt and its answer together.
    pub context: usize,
    /// How each weight is stored.
    pub quantization: Quantization,
    /// Bytes of a weight that is not packed, in the model's files.
    pub plain_bytes: usize,
    /// The tokens that end an answer, and so a message in a prompt.
    pub end_tokens: Vec<u32>,
}

/// `eos_token_id`, in either form.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum EndTokens {
    One(u32),
    Several(Vec<u32>),
}

impl EndTokens {
    /// The end tokens of a JSON file; empty if it has none, or they are not numbers.
    fn of(file: &Value) -> Vec<u32> {
        match Self::deserialize(&file["eos_token_id"]) {
            Ok(Self::One(token)) => vec![token],
            Ok(Self::Several(tokens)) => tokens,
            Err(_) => vec![],
        }
    }
}

/// The name of a layer with a sliding window in `layer_types`.
const SLIDING: &str = "sliding_attention";

/// More layers than any model has; each takes memory while a configuration is read.
const MOST_LAYERS: u64 = 10_000;

/// `config.json` as written, without the fields of single families. Some fields are only read to refuse their models.
#[derive(Deserialize)]
struct ConfigFile {
    vocab_size: usize,
    hidden_size: usize,
    /// Missing where all layers have experts.
    intermediate_size: Option<usize>,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    rms_norm_eps: f32,
    rope_theta: Option<f32>,
    rope_scaling: Option<RopeFields>,
    /// Transformers 5 keeps both of the above here.
    rope_parameters: Option<RopeFields>,
    tie_word_embeddings: Option<bool>,
    /// The fraction of a head's dimensions that RoPE rotates.
    partial_rotary_factor: Option<f32>,
    /// The same as a number of dimensions (MiniMax).
    rotary_dim: Option<usize>,
    max_position_embeddings: usize,
    hidden_act: Option<String>,
    layer_types: Option<Vec<String>>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    use_sliding_window: bool,
    sliding_window: Option<u32>,
    max_window_layers: Option<usize>,
    #[serde(default)]
    rope_traditional: bool,
    dtype: Option<String>,
    /// What `dtype` was called until Transformers 5.
    torch_dtype: Option<String>,
    quantization: Option<Value>,
    quantization_config: Option<Value>,
}

impl Config {
    /// Reads `config.json` of a model folder. The error names the field that is missing or that the engine does not support.
    pub fn load(dir: &Path) -> Result<Self, EngineError> {
        let path = dir.join("config.json");
        let value: Value = read_json(&path)?;
        let mut config = Self::parse(value).map_err(|reason| EngineError::ModelFile { path, reason })?;
        let generation = dir.join(GenerationConfig::FILE);
        if generation.exists() {
            config.end_tokens.extend(EndTokens::of(&read_json(&generation)?));
        }
        Ok(config)
    }

    /// Reads the text of a `config.json` that is not in a model folder.
    ///
    /// # Errors
    /// What is missing or not supported, in words.
    pub fn parse_text(text: &str) -> Result<Self, String> {
        Self::parse(serde_json::from_str(text).map_err(|error| error.to_string())?)
    }

    fn parse(value: Value) -> Result<Self, String> {
        let value = text_part(value);
        check_layers(&value)?;
        let family = Family::parse(&value)?;
        let end_tokens = EndTokens::of(&value);
        let file: ConfigFile = serde_json::from_value(value).map_err(|e| e.to_string())?;
        file.check_sizes()?;
        file.check_features(&family)?;
        let rope = file.rope(&family)?;
        Ok(Self {
            vocab_size: file.vocab_size,
            hidden_size: file.hidden_size,
            intermediate_size: file.inner_width(&family)?,
            layers: file.num_hidden_layers,
            windows: file.windows(&family),
            heads: file.num_attention_heads,
            kv_heads: file.kv_heads(),
            head_dim: file.head_dim(),
            rms_norm_eps: file.rms_norm_eps,
            tied_head: file.tie_word_embeddings,
            context: rope.scaling.context().unwrap_or(0).max(file.max_position_embeddings),
            quantization: file.quantization()?,
            plain_bytes: file.plain_bytes(),
            end_tokens,
            rope,
            family,
        })
    }

    /// Whether a layer has a recurrent state in place of attention.
    pub fn is_recurrent(&self, layer: usize) -> bool {
        self.family.hybrid().is_some_and(|hybrid| hybrid.recurrent[layer])
    }

    /// Layers with a recurrent state.
    pub fn recurrent_layers(&self) -> usize {
        self.family.hybrid().map_or(0, HybridConfig::recurrent_layers)
    }
}

/// Refuses a number of layers that no model has, before anything is made for each of them.
fn check_layers(config: &Value) -> Result<(), String> {
    match config["num_hidden_layers"].as_u64() {
        Some(layers) if layers > MOST_LAYERS => Err(format!("num_hidden_layers {layers} is out of range")),
        _ => Ok(()),
    }
}

/// The text model's configuration: where a model also reads images, it is an object of its own within the file, and fields that
/// it lacks are beside it. The `model_type` is the whole model's.
fn text_part(mut value: Value) -> Value {
    let Some(Value::Object(text)) = value.get_mut("text_config").map(Value::take) else { return value };
    if let Some(whole) = value.as_object_mut() {
        if let Some(kind) = text.get("model_type") {
            whole.insert(family::TEXT_MODEL_TYPE.into(), kind.clone());
        }
        whole.extend(text.into_iter().filter(|(name, _)| name != "model_type"));
    }
    value
}

impl ConfigFile {
    fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    fn plain_bytes(&self) -> usize {
        match self.dtype.as_ref().or(self.torch_dtype.as_ref()) {
            Some(name) if name == "float32" => 4,
            _ => 2,
        }
    }

    fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    fn rope(&self, family: &Family) -> Result<RopeConfig, String> {
        if let Family::Gemma4(own) = family {
            return Ok(own.windowed_rope.clone());
        }
        let parameters = self.rope_parameters.as_ref();
        // Llama 2's configurations leave `rope_theta` out.
        let usual = matches!(family, Family::Llama(_)).then_some(10_000.0);
        let theta = self.rope_theta.or(parameters.and_then(|rope| rope.rope_theta)).or(usual).ok_or("rope_theta is missing")?;
        let scaling = self.rope_scaling.as_ref().or(parameters).map(Scaling::parse).transpose()?;
        let factor = self.partial_rotary_factor.or(parameters.and_then(|rope| rope.partial_rotary_factor));
        let part = self.rotary_dim.map(|width| width as f32 / self.head_dim() as f32).or(factor).unwrap_or(1.0);
        if part != 1.0 && !family.has_partial_rope() {
            return Err("partial_rotary_factor is not supported for this model_type".into());
        }
        let width = (self.head_dim() as f32 * part) as usize;
        if part > 1.0 || width < 2 || !width.is_multiple_of(2) {
            return Err(format!("partial_rotary_factor {part} is out of range for head_dim {}", self.head_dim()));
        }
        if let Family::Glm4MoeLite(own) = family {
            let scaling = scaling.filter(|scaling| *scaling != Scaling::None);
            return match scaling {
                Some(_) => Err("RoPE scaling is not supported for this model_type".into()),
                None => Ok(RopeConfig { theta, width: own.latent.qk_rope_head_dim, scaling: Scaling::None, query_scaling: None }),
            };
        }
        let query_scaling = self.rope_scaling.as_ref().or(parameters).map(QueryScaling::parse).transpose()?.flatten();
        Ok(RopeConfig { theta, width, scaling: scaling.unwrap_or(Scaling::None), query_scaling })
    }

    /// Width inside a dense MLP. Where no layer has one, configurations may leave it out.
    fn inner_width(&self, family: &Family) -> Result<usize, String> {
        self.intermediate_size.or(family.expert_width()).ok_or_else(|| "missing field `intermediate_size`".into())
    }

    /// Each layer's sliding window, by the rules of Hugging Face's transformers: with Mistral, all layers have it; with gpt-oss,
    /// every other one; with Qwen, those from `max_window_layers` on if `use_sliding_window` is set. `layer_types` lists the
    /// layers explicitly.
    fn windows(&self, family: &Family) -> Vec<Option<i32>> {
        let (switched_on, first) = match family {
            Family::Gemma4(_) => (true, 0),
            Family::Llama(_)
            | Family::Qwen3Next(_)
            | Family::Qwen3_5(_)
            | Family::Glm4Moe(_)
            | Family::Glm4MoeLite(_)
            | Family::MiniMax(_) => (false, 0),
            Family::Mistral | Family::GptOss(_) => (true, 0),
            Family::Qwen2 | Family::Qwen3 | Family::Qwen3Moe(_) => {
                (self.use_sliding_window, self.max_window_layers.unwrap_or(28))
            }
        };
        let window = family.gemma4().map(|own| own.window).or(self.sliding_window).filter(|_| switched_on);
        // A larger window than `i32` holds is larger than any context.
        let window = window.map(|window| i32::try_from(window).unwrap_or(i32::MAX));
        let slides = |layer: usize| match (&self.layer_types, family) {
            (_, Family::Gemma4(own)) => own.sliding[layer],
            (Some(types), _) => types.get(layer).is_none_or(|kind| kind == SLIDING),
            (None, Family::GptOss(_)) => layer.is_multiple_of(2),
            (None, _) => layer >= first,
        };
        (0..self.num_hidden_layers).map(|layer| window.filter(|_| slides(layer))).collect()
    }

    fn quantization(&self) -> Result<Quantization, String> {
        // mlx-lm writes both fields with the same content; other tools write only the second, in formats of their own.
        match (&self.quantization, &self.quantization_config) {
            (Some(affine), _) => Quantization::parse(affine),
            (None, None) => Ok(Quantization::default()),
            (None, Some(other)) if other["quant_method"] == "mxfp4" => Ok(Quantization::mxfp4()),
            (None, Some(other)) => {
                let method = other["quant_method"].as_str().unwrap_or("unknown");
                Err(format!("quantization_config: quant_method {method:?} is not supported; take an MLX or a bf16 release"))
            }
        }
    }

    /// Refuses sizes that no model can have.
    fn check_sizes(&self) -> Result<(), String> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size.unwrap_or(1)),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.kv_heads()),
            ("head_dim", self.head_dim()),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        if let Some((name, size)) = sizes.iter().find(|(_, size)| *size == 0 || i32::try_from(*size).is_err()) {
            return Err(format!("{name} {size} is out of range"));
        }
        // With a window of 0, a token would not even see itself.
        if self.sliding_window == Some(0) {
            return Err("sliding_window 0 is out of range".into());
        }
        let (heads, kv_heads) = (self.num_attention_heads, self.kv_heads());
        if !heads.is_multiple_of(kv_heads) {
            return Err(format!("num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}"));
        }
        if !self.head_dim().is_multiple_of(2) {
            return Err(format!("head_dim {} is odd", self.head_dim()));
        }
        Ok(())
    }

    /// Refuses features that the engine would silently compute wrong.
    fn check_features(&self, family: &Family) -> Result<(), String> {
        if let Some(other) = self.hidden_act.as_ref().filter(|name| *name != "silu") {
            return Err(format!("hidden_act {other:?} is not supported; the engine computes \"silu\""));
        }
        if self.attention_bias
            && !matches!(family, Family::Llama(_) | Family::Glm4Moe(_) | Family::Glm4MoeLite(_) | Family::GptOss(_))
        {
            return Err("attention_bias is not supported for this model_type".into());
        }
        let hybrid = family.hybrid().is_some();
        let windows =
            !hybrid && !matches!(family, Family::Llama(_) | Family::Glm4Moe(_) | Family::Glm4MoeLite(_) | Family::MiniMax(_));
        let known = |kind: &str| match kind {
            "full_attention" => true,
            SLIDING => windows,
            hybrid::RECURRENT => hybrid,
            _ => false,
        };
        if let Some(kind) = self.layer_types.iter().flatten().find(|kind| !known(kind)) {
            return Err(format!("layer_types: {kind:?} is not supported for this model_type"));
        }
        if self.rope_traditional {
            return Err("rope_traditional is not supported".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
