//! What a token begins with: its row of the embedding and, in some models, an input of its own for each layer.

use mlx_rs::ops::{add, multiply};
use mlx_rs::{Array, error::Exception};

use super::Config;
use super::compute_path::ComputePath;
use super::config::LayerInputConfig;
use super::layers::{Linear, RmsNorm};
use super::matrix::Matrix;
use super::weights::Weights;
use crate::engine::EngineError;

/// A model's embedding.
pub(super) struct Embedding {
    table: Matrix,
    /// What rows are multiplied by (Gemma).
    scale: Option<f32>,
    layer_inputs: Option<LayerInputs>,
}

/// Tokens before the first transformer block.
pub(super) struct Embedded {
    /// The residual stream, `[n, R / n, D]`.
    pub stream: Array,
    /// For each layer its own input, `[n, R / n, P]`; empty if layers have none.
    pub for_layers: Vec<Array>,
}

/// What the layers' own inputs are made of: `P` numbers for each layer and token (Gemma 4).
struct LayerInputs {
    /// `[vocabulary, layers · P]`.
    table: Matrix,
    /// From the residual stream, `[layers · P, D]`.
    projection: Linear,
    /// Of each layer's part.
    norm: RmsNorm,
    /// `P`.
    width: i32,
}

impl Embedding {
    /// Loads `model.embed_tokens`, whose rows are only looked up.
    pub(super) fn load(weights: &mut Weights, config: &Config) -> Result<Self, EngineError> {
        let table = weights.matrix("model.embed_tokens", &[config.vocab_size, config.hidden_size])?;
        let gemma = config.family.gemma4();
        let layer_inputs = gemma.and_then(|own| own.layer_inputs);
        Ok(Self {
            table,
            scale: gemma.map(|_| (config.hidden_size as f32).sqrt()),
            layer_inputs: layer_inputs.map(|own| LayerInputs::load(weights, config, own)).transpose()?,
        })
    }

    /// The matrix, `[vocabulary, D]`, which may serve as LM head too.
    pub(super) fn table(&self) -> &Matrix {
        &self.table
    }

    /// The beginning of tokens `[n, R / n]`.
    pub(super) fn forward(&self, tokens: &Array, path: ComputePath) -> Result<Embedded, Exception> {
        let rows = self.table.rows(tokens)?;
        let stream = if let Some(scale) = self.scale { scaled(&rows, scale)? } else { rows };
        let for_layers = self.layer_inputs.as_ref().map(|inputs| inputs.forward(tokens, &stream, path)).transpose()?;
        Ok(Embedded { stream, for_layers: for_layers.unwrap_or_default() })
    }
}

impl LayerInputs {
    /// Loads `model.embed_tokens_per_layer`, `per_layer_model_projection` and `per_layer_projection_norm`.
    fn load(weights: &mut Weights, config: &Config, own: LayerInputConfig) -> Result<Self, EngineError> {
        let all = config.layers * own.width;
        Ok(Self {
            table: weights.matrix("model.embed_tokens_per_layer", &[own.vocab_size, all])?,
            projection: Linear::load(weights, "model.per_layer_model_projection", config.hidden_size, all, false)?,
            norm: RmsNorm::load(weights, "model.per_layer_projection_norm", own.width, config)?,
            width: own.width as i32,
        })
    }

    /// Each layer's input: half what the table has of the token, half what is projected from its row of the embedding.
    fn forward(&self, tokens: &Array, stream: &Array, path: ComputePath) -> Result<Vec<Array>, Exception> {
        let own = scaled(&self.table.rows(tokens)?, (self.width as f32).sqrt())?;
        let projected = scaled(&self.projection.forward_on(path, stream)?, (stream.dim(2) as f32).powf(-0.5))?;
        let projected = self.norm.for_each_part(&projected)?;
        let both = scaled(&add(&projected, own.reshape(projected.shape())?)?, 0.5f32.sqrt())?;
        let layers = both.dim(2);
        let parts = both.split_equal(layers, 2)?;
        parts.iter().map(|part| part.squeeze_axes(&[2])).collect()
    }
}

/// Numbers times a factor, rounded as the numbers are.
fn scaled(x: &Array, factor: f32) -> Result<Array, Exception> {
    multiply(x, Array::from_f32(factor).as_dtype(x.dtype())?)
}
