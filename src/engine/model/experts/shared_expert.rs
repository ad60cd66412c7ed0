//! An expert that computes every token, beside the chosen ones.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::{multiply, sigmoid};

use crate::engine::EngineError;
use crate::engine::model::compute_path::ComputePath;
use crate::engine::model::layers::{Linear, Mlp};
use crate::engine::model::weights::Weights;

/// A SwiGLU MLP for all tokens.
pub(in crate::engine::model) struct SharedExpert {
    mlp: Mlp,
    /// One output: before its sigmoid, the share of `mlp`'s output that is taken (Qwen); `None`: all of it (GLM).
    gate: Option<Linear>,
}

impl SharedExpert {
    /// Loads `<path>.shared_expert`, of width `inner`, and `<path>.shared_expert_gate`.
    pub(in crate::engine::model) fn load_gated(
        weights: &mut Weights,
        path: &str,
        hidden: usize,
        inner: usize,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            mlp: Mlp::load_sized(weights, &format!("{path}.shared_expert"), hidden, inner, false)?,
            gate: Some(Linear::load(weights, &format!("{path}.shared_expert_gate"), hidden, 1, false)?),
        })
    }

    /// Loads `<path>.shared_experts`, of width `inner`: several experts side by side are one.
    pub(in crate::engine::model) fn load(
        weights: &mut Weights,
        path: &str,
        hidden: usize,
        inner: usize,
    ) -> Result<Self, EngineError> {
        let mlp = Mlp::load_sized(weights, &format!("{path}.shared_experts"), hidden, inner, false)?;
        Ok(Self { mlp, gate: None })
    }

    /// `[n, R / n, D]` to the same shape.
    pub(super) fn forward(&self, x: &Array, path: ComputePath) -> Result<Array, Exception> {
        let output = self.mlp.forward(x, path)?;
        match &self.gate {
            Some(gate) => multiply(sigmoid(gate.forward(x)?)?, output),
            None => Ok(output),
        }
    }
}
