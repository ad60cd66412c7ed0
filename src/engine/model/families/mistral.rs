//! Mistral: Llama's block, in which a token may see only a window of tokens.

use serde::Deserialize;

use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::block::{Block, Feed};
use crate::engine::model::layers::{Attention, AttentionBias, Mlp};
use crate::engine::model::weights::Weights;

/// What only Mistral's configurations say.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Arguments {
    /// Tokens that a token sees, itself included; without one, all before it.
    sliding_window: Option<u32>,
    /// `full_attention` or `sliding_attention` for each layer; without it, all slide.
    layer_types: Option<Vec<String>>,
}

impl Arguments {
    fn window(&self, layer: usize) -> Option<i32> {
        let full = self.layer_types.as_ref().and_then(|types| types.get(layer)).is_some_and(|kind| kind == "full_attention");
        // No model has a window that does not fit.
        self.sliding_window.filter(|_| !full).map(|window| i32::try_from(window).unwrap_or(i32::MAX))
    }
}

/// Attention within the layer's window and gated MLP, each after a norm.
pub fn block(weights: &mut Weights, layer: usize, config: &Config, arguments: &Arguments) -> Result<Block, EngineError> {
    let path = format!("model.layers.{layer}");
    let bias = AttentionBias { qkv: false, output: false };
    let attention = Attention::load(weights, &format!("{path}.self_attn"), config, bias)?;
    let attention = Attention { window: arguments.window(layer), ..attention };
    let mlp = Mlp::load(weights, &format!("{path}.mlp"), config, false)?;
    Block::load(weights, &path, config, attention, Feed::Dense(mlp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_for_all_layers_or_for_those_named() {
        let kinds = || Some(vec!["full_attention".to_string(), "sliding_attention".to_string()]);
        let windows = |sliding_window, layer_types| {
            let arguments = Arguments { sliding_window, layer_types };
            [arguments.window(0), arguments.window(1)]
        };
        assert_eq!(windows(None, None), [None, None]);
        assert_eq!(windows(Some(4096), None), [Some(4096), Some(4096)]);
        assert_eq!(windows(Some(4096), kinds()), [None, Some(4096)]);
    }
}
