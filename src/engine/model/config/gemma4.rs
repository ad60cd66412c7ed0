//! The fields of Gemma 4.

use serde::Deserialize;
use serde_json::Value;

use super::SLIDING;
use super::experts::ExpertConfig;
use crate::engine::model::rope::{RopeConfig, RopeFields, Scaling};

/// What Gemma 4 has of its own. The sizes of the whole configuration are those of layers with a sliding window.
#[derive(Clone, Debug, PartialEq)]
pub struct Gemma4Config {
    /// For each layer, whether it sees a window only; the others see all tokens.
    pub sliding: Vec<bool>,
    /// How many tokens these see, the newest included.
    pub window: u32,
    /// RoPE in the layers with a window.
    pub windowed_rope: RopeConfig,
    /// Attention in the layers that see all tokens.
    pub full: FullAttention,
    /// How many of the last layers have no keys and values: they attend to those of an earlier layer of their kind.
    pub borrowing_layers: usize,
    /// How many times wider than usual an MLP of these layers is.
    pub borrowing_width: usize,
    /// What each layer learns of a token beside the residual stream; `None`: nothing.
    pub layer_inputs: Option<LayerInputConfig>,
    /// Experts beside the MLP of each layer.
    pub experts: Option<ExpertConfig>,
    /// No logit is further from 0: they approach it as tanh does.
    pub logit_cap: Option<f32>,
}

/// Attention in the layers that see all tokens, where it is not that of the others.
#[derive(Clone, Debug, PartialEq)]
pub struct FullAttention {
    pub kv_heads: usize,
    pub head_dim: usize,
    pub rope: RopeConfig,
    /// Whether a value is its key as projected, before the key's norm and RoPE.
    pub values_are_keys: bool,
}

/// The sizes of the inputs that each layer gets of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerInputConfig {
    /// Numbers of a token for one layer.
    pub width: usize,
    /// Tokens in the table of these inputs.
    pub vocab_size: usize,
}

/// The fields as written. Where one is missing, transformers and mlx-lm sometimes assume different values: transformers has no
/// `final_logit_softcapping`, 0 `num_kv_shared_layers`, no `use_double_wide_mlp` and every sixth layer seeing all tokens; mlx-lm 30,
/// 20, true and every fifth. Transformers is followed: models are published in its format, and mlx-lm's values suit one size only.
#[derive(Deserialize)]
struct Fields {
    model_type: String,
    sliding_window: Option<u32>,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    /// Null: the same as `head_dim`.
    #[serde(default = "full_head_width")]
    global_head_dim: Option<usize>,
    num_global_key_value_heads: Option<usize>,
    #[serde(default)]
    attention_k_eq_v: bool,
    layer_types: Option<Vec<String>>,
    rope_parameters: Option<RopeByKind>,
    #[serde(default)]
    num_kv_shared_layers: usize,
    #[serde(default)]
    use_double_wide_mlp: bool,
    hidden_size_per_layer_input: Option<usize>,
    vocab_size_per_layer_input: Option<usize>,
    #[serde(default)]
    enable_moe_block: bool,
    num_experts: Option<usize>,
    top_k_experts: Option<usize>,
    moe_intermediate_size: Option<usize>,
    final_logit_softcapping: Option<f32>,
    hidden_activation: Option<String>,
    use_bidirectional_attention: Option<String>,
}

/// RoPE by the kind of layer.
#[derive(Default, Deserialize)]
struct RopeByKind {
    #[serde(default)]
    full_attention: RopeFields,
    #[serde(default)]
    sliding_attention: RopeFields,
}

/// Where `layer_types` is missing, every sixth layer sees all tokens. The last one always does.
const EVERY: usize = 6;

/// Tokens in the table of the layers' own inputs where the configuration does not say it, whatever its `vocab_size`.
const USUAL_INPUT_TOKENS: usize = 262_144;

/// A head's width in layers that see all tokens where the configuration does not say it.
fn full_head_width() -> Option<usize> {
    Some(512)
}

/// What is usual in models of one kind, where the configuration does not say it.
struct Usual {
    window: u32,
    /// Of the layers' own inputs; 0: there are none.
    layer_input_width: usize,
}

impl Usual {
    /// Of models with encoders of their own for images, or none.
    const GEMMA4: Self = Self { window: 512, layer_input_width: 256 };
    /// Of models that read images as they read text.
    const UNIFIED: Self = Self { window: 1024, layer_input_width: 0 };
}

impl Gemma4Config {
    /// Reads the fields; the error names what is missing or not supported.
    pub(super) fn parse(config: &Value) -> Result<Self, String> {
        let fields = Fields::deserialize(config).map_err(|e| e.to_string())?;
        fields.check()?;
        let layers = fields.num_hidden_layers;
        let mut sliding: Vec<bool> = match &fields.layer_types {
            Some(types) => types.iter().map(|kind| kind == SLIDING).collect(),
            None => (1..=layers).map(|number| !number.is_multiple_of(EVERY)).collect(),
        };
        // As in transformers, whatever `layer_types` says of it.
        sliding[layers - 1] = false;
        let own_layers = layers - fields.num_kv_shared_layers;
        if let Some(lender) = sliding[own_layers..].iter().find(|kind| !sliding[..own_layers].contains(kind)) {
            let kind = if *lender { SLIDING } else { "full_attention" };
            return Err(format!("num_kv_shared_layers {}: no other layer has {kind:?}", fields.num_kv_shared_layers));
        }
        let ropes = fields.rope_parameters.as_ref();
        let windowed_rope = plain_rope(ropes.map(|ropes| &ropes.sliding_attention), fields.head_dim)?;
        let full = FullAttention {
            kv_heads: fields.full_kv_heads(),
            head_dim: fields.full_head_dim(),
            rope: full_rope(ropes.map(|ropes| &ropes.full_attention), fields.full_head_dim())?,
            values_are_keys: fields.attention_k_eq_v,
        };
        let usual = fields.usual();
        let says_width = config.get("hidden_size_per_layer_input").is_some();
        let width = fields.hidden_size_per_layer_input.unwrap_or(if says_width { 0 } else { usual.layer_input_width });
        let vocab_size = fields.vocab_size_per_layer_input.unwrap_or(USUAL_INPUT_TOKENS);
        Ok(Self {
            sliding,
            window: fields.sliding_window.unwrap_or(usual.window),
            windowed_rope,
            full,
            borrowing_layers: fields.num_kv_shared_layers,
            borrowing_width: if fields.use_double_wide_mlp { 2 } else { 1 },
            layer_inputs: (width > 0).then_some(LayerInputConfig { width, vocab_size }),
            experts: fields.experts()?,
            logit_cap: fields.final_logit_softcapping,
        })
    }

    /// The layer whose keys and values a layer attends to: its own, or the last before the borrowing ones of its kind.
    pub fn kv_layer(&self, layer: usize) -> usize {
        let own = self.own_layers();
        let lender = |layer: usize| self.sliding[..own].iter().rposition(|kind| *kind == self.sliding[layer]);
        if layer < own { layer } else { lender(layer).unwrap_or(layer) }
    }

    /// Layers with keys and values of their own: the first ones.
    pub fn own_layers(&self) -> usize {
        self.sliding.len() - self.borrowing_layers
    }
}

impl Fields {
    fn usual(&self) -> Usual {
        if self.model_type.starts_with("gemma4_unified") { Usual::UNIFIED } else { Usual::GEMMA4 }
    }

    fn full_head_dim(&self) -> usize {
        self.global_head_dim.unwrap_or(self.head_dim)
    }

    fn full_kv_heads(&self) -> usize {
        self.num_global_key_value_heads.filter(|_| self.attention_k_eq_v).unwrap_or(self.num_key_value_heads)
    }

    fn experts(&self) -> Result<Option<ExpertConfig>, String> {
        if !self.enable_moe_block {
            return Ok(None);
        }
        let needed = |name: &str, value: Option<usize>| value.ok_or_else(|| format!("missing field `{name}`"));
        let experts = ExpertConfig {
            num_experts: needed("num_experts", self.num_experts)?,
            num_experts_per_tok: needed("top_k_experts", self.top_k_experts)?,
            moe_intermediate_size: needed("moe_intermediate_size", self.moe_intermediate_size)?,
            norm_topk_prob: true,
        };
        experts.check()?;
        Ok(Some(experts))
    }

    /// Refuses what cannot be, or would silently be computed otherwise.
    fn check(&self) -> Result<(), String> {
        let (layers, shared) = (self.num_hidden_layers, self.num_kv_shared_layers);
        if let Some(types) = self.layer_types.as_ref().filter(|types| types.len() != layers) {
            return Err(format!("layer_types has {} entries for {layers} layers", types.len()));
        }
        if shared >= layers {
            return Err(format!("num_kv_shared_layers {shared} leaves none of {layers} layers with keys and values"));
        }
        let (heads, kv_heads, width) = (self.num_attention_heads, self.full_kv_heads(), self.full_head_dim());
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(format!("num_attention_heads {heads} is not a multiple of num_global_key_value_heads {kv_heads}"));
        }
        if width == 0 || !width.is_multiple_of(2) || width > 1 << 20 {
            return Err(format!("global_head_dim {width} is out of range"));
        }
        if let Some(other) = self.hidden_activation.as_ref().filter(|name| *name != "gelu_pytorch_tanh") {
            return Err(format!("hidden_activation {other:?} is not supported; the engine computes \"gelu_pytorch_tanh\""));
        }
        if self.use_bidirectional_attention.as_deref() == Some("all") {
            return Err("use_bidirectional_attention \"all\" is not supported".into());
        }
        Ok(())
    }
}

/// RoPE in layers with a window: of the whole head.
fn plain_rope(fields: Option<&RopeFields>, width: usize) -> Result<RopeConfig, String> {
    let scaling = fields.map(Scaling::parse).transpose()?.unwrap_or(Scaling::None);
    let theta = fields.and_then(|fields| fields.rope_theta).unwrap_or(10_000.0);
    Ok(RopeConfig { theta, width, scaling, query_scaling: None })
}

/// RoPE in layers that see all tokens: proportional to the position in the whole head, and of a quarter of it, unless the
/// configuration says otherwise.
fn full_rope(fields: Option<&RopeFields>, width: usize) -> Result<RopeConfig, String> {
    let usual = Scaling::Proportional { part: 0.25, factor: 1.0 };
    let scaling = match fields {
        Some(fields) if fields.has_type() => Scaling::parse(fields)?,
        _ => usual,
    };
    let theta = fields.and_then(|fields| fields.rope_theta).unwrap_or(1_000_000.0);
    Ok(RopeConfig { theta, width, scaling, query_scaling: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(change: Value) -> Value {
        let mut config = json!({"model_type": "gemma4_text", "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
                                "global_head_dim": 16, "vocab_size": 300, "hidden_size_per_layer_input": 0});
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        config
    }

    fn parse(change: Value) -> Result<Gemma4Config, String> {
        Gemma4Config::parse(&file(change))
    }

    #[test]
    fn borrowing_layers_take_from_the_last_of_their_kind() {
        let types = ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention", "full_attention"];
        let types: Vec<&str> = types.into_iter().chain(["sliding_attention"]).collect();
        let config = parse(json!({"layer_types": types, "num_kv_shared_layers": 3})).unwrap();
        assert_eq!((0..6).map(|layer| config.kv_layer(layer)).collect::<Vec<_>>(), [0, 1, 2, 2, 1, 1]);
        assert_eq!(config.own_layers(), 3);
    }

    #[test]
    fn fields_that_are_missing_have_their_defaults() {
        let config = parse(json!({})).unwrap();
        assert_eq!(config.sliding, [true, true, true, true, true, false]);
        let rope =
            RopeConfig { theta: 1e6, width: 16, scaling: Scaling::Proportional { part: 0.25, factor: 1.0 }, query_scaling: None };
        assert_eq!(config.full, FullAttention { kv_heads: 2, head_dim: 16, rope, values_are_keys: false });
        assert_eq!((config.borrowing_width, config.layer_inputs, config.experts, config.logit_cap), (1, None, None, None));
        let inputs = parse(json!({"hidden_size_per_layer_input": 4})).unwrap().layer_inputs;
        assert_eq!(inputs, Some(LayerInputConfig { width: 4, vocab_size: 262_144 }));
        let of_kind = |model_type: &str| {
            let mut config = file(json!({"model_type": model_type}));
            config
                .as_object_mut()
                .unwrap()
                .retain(|name, _| !["global_head_dim", "hidden_size_per_layer_input"].contains(&&**name));
            let found = Gemma4Config::parse(&config).unwrap();
            (found.window, found.full.head_dim, found.layer_inputs.map(|inputs| inputs.width))
        };
        assert_eq!(["gemma4", "gemma4_text"].map(of_kind), [(512, 512, Some(256)); 2]);
        assert_eq!(["gemma4_unified", "gemma4_unified_text"].map(of_kind), [(1024, 512, None); 2]);
        let null = parse(json!({"sliding_window": 40, "global_head_dim": null, "hidden_size_per_layer_input": null})).unwrap();
        assert_eq!((null.window, null.full.head_dim, null.layer_inputs), (40, 8, None));
    }

    #[test]
    fn the_last_layer_sees_all_tokens() {
        let sliding = |change: Value| parse(change).unwrap().sliding;
        assert_eq!(sliding(json!({"layer_types": vec![SLIDING; 6]})), [true, true, true, true, true, false]);
        let without_list = sliding(json!({"num_hidden_layers": 8}));
        assert_eq!(without_list, [true, true, true, true, true, false, true, false]);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (change, reason) in [
            (json!({"layer_types": ["full_attention"]}), "layer_types has 1 entries for 6 layers"),
            (json!({"num_kv_shared_layers": 6}), "num_kv_shared_layers 6 leaves none of 6 layers with keys and values"),
            (json!({"num_kv_shared_layers": 1}), "num_kv_shared_layers 1: no other layer has \"full_attention\""),
            (json!({"global_head_dim": 15}), "global_head_dim 15 is out of range"),
            (
                json!({"attention_k_eq_v": true, "num_global_key_value_heads": 3}),
                "num_attention_heads 4 is not a multiple of num_global_key_value_heads 3",
            ),
            (
                json!({"hidden_activation": "relu"}),
                "hidden_activation \"relu\" is not supported; the engine computes \"gelu_pytorch_tanh\"",
            ),
            (json!({"enable_moe_block": true}), "missing field `num_experts`"),
            (
                json!({"enable_moe_block": true, "num_experts": 4, "top_k_experts": 5, "moe_intermediate_size": 8}),
                "num_experts_per_tok 5 is not between 1 and num_experts 4",
            ),
        ] {
            assert_eq!(parse(change).unwrap_err(), reason);
        }
    }
}
