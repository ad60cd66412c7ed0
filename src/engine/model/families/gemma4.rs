//! Gemma 4: attention within a window and over all tokens in turn, whose heads differ in number and width; norms before and after
//! attention and MLP. In the large models, experts beside the MLP, and values that are their keys; in the small ones the last
//! layers attend to the keys and values of earlier ones, and each layer learns of the token itself once more.

use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::activation::GatedActivation;
use crate::engine::model::attention::{Attention, KeysAndValues};
use crate::engine::model::config::{ExpertConfig, Gemma4Config};
use crate::engine::model::experts::{ExpertMlps, Experts, Router, Scoring};
use crate::engine::model::layers::{Linear, Mlp, RmsNorm};
use crate::engine::model::rope::Rope;
use crate::engine::model::transformer_block::{Additions, FeedForward, LayerInput, MlpAndExperts, TokenMixer, TransformerBlock};
use crate::engine::model::weights::Weights;

/// Attention, and an MLP, perhaps beside experts.
pub(super) fn block(
    weights: &mut Weights,
    layer: usize,
    config: &Config,
    own: &Gemma4Config,
) -> Result<TransformerBlock, EngineError> {
    let path = format!("model.layers.{layer}");
    let hidden = config.hidden_size;
    let mixer = TokenMixer::Attention(Box::new(attention(weights, layer, config, own)?));
    let feed_forward = feed_forward(weights, layer, config, own)?;
    let mut norm = |name: &str| RmsNorm::load(weights, &format!("{path}.{name}"), hidden, config);
    let norms = [norm("input_layernorm")?, norm("pre_feedforward_layernorm")?];
    let output_norms = (norm("post_attention_layernorm")?, norm("post_feedforward_layernorm")?);
    let additions = Additions {
        output_norms: Some(output_norms),
        layer_input: own.layer_inputs.map(|inputs| layer_input(weights, &path, config, inputs.width)).transpose()?,
        scale: Some(weights.vector(&format!("{path}.layer_scalar"), 1)?),
    };
    Ok(TransformerBlock::new(norms, mixer, config.slot(layer), feed_forward).with_additions(additions))
}

/// Attention whose scores have no factor: queries and keys are normed.
fn attention(weights: &mut Weights, layer: usize, config: &Config, own: &Gemma4Config) -> Result<Attention, EngineError> {
    let path = format!("model.layers.{layer}.self_attn");
    let (hidden, shape) = (config.hidden_size, config.kv_shape(layer));
    let (queries, keys) = (config.heads * shape.width, shape.heads * shape.width);
    let query = Linear::load(weights, &format!("{path}.q_proj"), hidden, queries, false)?;
    let query_norm = RmsNorm::load(weights, &format!("{path}.q_norm"), shape.width, config)?;
    let mut own_keys = None;
    if config.slot(layer) == layer {
        let has_values = own.sliding[layer] || !own.full.values_are_keys;
        let mut projection = |name: &str| Linear::load(weights, &format!("{path}.{name}"), hidden, keys, false);
        own_keys = Some(KeysAndValues {
            key: projection("k_proj")?,
            value: if has_values { Some(projection("v_proj")?) } else { None },
            key_norm: Some(RmsNorm::load(weights, &format!("{path}.k_norm"), shape.width, config)?),
            value_norm_eps: Some(config.rms_norm_eps),
        });
    }
    Ok(Attention {
        query,
        own: own_keys,
        output: Linear::load(weights, &format!("{path}.o_proj"), queries, hidden, false)?,
        query_norm: Some(query_norm),
        gated: false,
        rope: Rope::new(if own.sliding[layer] { &own.windowed_rope } else { &own.full.rope })?,
        head_dim: shape.width as i32,
        scale: 1.0,
        window: config.windows[layer],
        sinks: None,
    })
}

/// The MLP, which is wider in layers that borrow keys and values, and the experts beside it, if there are any.
fn feed_forward(weights: &mut Weights, layer: usize, config: &Config, own: &Gemma4Config) -> Result<FeedForward, EngineError> {
    let path = format!("model.layers.{layer}");
    let times = if config.slot(layer) == layer { 1 } else { own.borrowing_width };
    let inner = times * config.intermediate_size;
    let mlp = Mlp::load_sized(weights, &format!("{path}.mlp"), config.hidden_size, inner, false)?;
    let mlp = mlp.with_activation(GatedActivation::GeGlu);
    let Some(sizes) = &own.experts else { return Ok(FeedForward::Dense(mlp)) };
    let experts = experts(weights, &path, config, sizes)?;
    let mut norm = |name: &str| RmsNorm::load(weights, &format!("{path}.{name}"), config.hidden_size, config);
    Ok(FeedForward::DenseAndExperts(Box::new(MlpAndExperts {
        mlp,
        mlp_output_norm: norm("post_feedforward_layernorm_1")?,
        experts,
        experts_norm: norm("pre_feedforward_layernorm_2")?,
        experts_output_norm: norm("post_feedforward_layernorm_2")?,
    })))
}

/// Experts that a router chooses, which norms what it reads.
fn experts(weights: &mut Weights, path: &str, config: &Config, sizes: &ExpertConfig) -> Result<Experts, EngineError> {
    let hidden = config.hidden_size;
    let factors = weights.vector(&format!("{path}.router.per_expert_scale"), sizes.num_experts)?;
    let norm =
        RmsNorm::load_named(weights, &format!("{path}.router.scale"), hidden, config)?.scaled((hidden as f32).powf(-0.5))?;
    let scoring = Scoring::ScaledSoftmaxOfChosen { factors };
    let router = Router::load(weights, &format!("{path}.router.proj"), config, sizes, scoring)?.with_norm(norm);
    Ok(Experts::new(router, ExpertMlps::load_geglu(weights, &format!("{path}.experts.switch_glu"), config, sizes)?))
}

/// What a block adds of the token itself.
fn layer_input(weights: &mut Weights, path: &str, config: &Config, width: usize) -> Result<LayerInput, EngineError> {
    let hidden = config.hidden_size;
    Ok(LayerInput {
        gate: Linear::load(weights, &format!("{path}.per_layer_input_gate"), hidden, width, false)?,
        projection: Linear::load(weights, &format!("{path}.per_layer_projection"), width, hidden, false)?,
        norm: RmsNorm::load(weights, &format!("{path}.post_per_layer_input_norm"), hidden, config)?,
    })
}
