//! The small layers that all families share: linear projection, RMSNorm, gated MLP.
//!
//! Shapes: `R` rows, the new tokens of all sequences; `n` their batch axis (see `batch`); `D` hidden size; `F` width inside the
//! MLP.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::fast::rms_norm;
use mlx_rs::ops::{add, addmm, multiply};

use super::Config;
use super::activation::GatedActivation;
use super::compute_path::ComputePath;
use super::cpu::cores::{by_rows, joined};
use super::matrix::Matrix;
use super::weights::Weights;
use crate::engine::EngineError;

/// A linear projection: `x · weightᵀ + bias`.
pub(super) struct Linear {
    pub weight: Matrix,
    pub bias: Option<Array>,
}

impl Linear {
    /// Loads `<path>.weight`, `[output, input]`, and with `bias` also `<path>.bias`, `[output]`.
    pub(super) fn load(weights: &mut Weights, path: &str, input: usize, output: usize, bias: bool) -> Result<Self, EngineError> {
        Ok(Self {
            weight: weights.matrix(path, &[output, input])?,
            bias: if bias { Some(weights.vector(&format!("{path}.bias"), output)?) } else { None },
        })
    }

    /// The same layer for the parts of `x`: see [`Matrix::for_parts_of`].
    pub(super) fn for_parts_of(&self, x: &Array) -> Result<Self, Exception> {
        Ok(Self { weight: self.weight.for_parts_of(x)?, bias: self.bias.clone() })
    }

    /// The same as [`Self::forward`], on all cores where the path is that of the CPU.
    pub(super) fn forward_on(&self, path: ComputePath, x: &Array) -> Result<Array, Exception> {
        match path {
            ComputePath::Cpu => {
                let layer = self.for_parts_of(x)?;
                joined(&by_rows(x, |x, _| Ok([layer.forward(x)?]))?, 0)
            }
            ComputePath::Gpu => self.forward(x),
        }
    }

    /// `[n, R / n, input]` to `[n, R / n, output]`.
    pub(super) fn forward(&self, x: &Array) -> Result<Array, Exception> {
        match (&self.weight, &self.bias) {
            // One operation, which rounds once, as in mlx-lm.
            (Matrix::Plain(weight), Some(bias)) => addmm(bias, x, weight.transpose()?, None, None),
            (weight, Some(bias)) => add(weight.apply(x)?, bias),
            (weight, None) => weight.apply(x),
        }
    }
}

/// RMSNorm over the last axis: `x / sqrt(mean(x²) + eps) · weight` (Zhang and Sennrich 2019).
#[derive(Clone)]
pub(super) struct RmsNorm {
    weight: Array,
    eps: f32,
}

impl RmsNorm {
    /// Loads `<path>.weight`, `[width]`.
    pub(super) fn load(weights: &mut Weights, path: &str, width: usize, config: &Config) -> Result<Self, EngineError> {
        Self::load_named(weights, &format!("{path}.weight"), width, config)
    }

    /// Loads the tensor of this name, `[width]`.
    pub(super) fn load_named(weights: &mut Weights, name: &str, width: usize, config: &Config) -> Result<Self, EngineError> {
        Ok(Self { weight: weights.vector(name, width)?, eps: config.rms_norm_eps })
    }

    /// The same with its weight multiplied.
    pub(super) fn scaled(self, factor: f32) -> Result<Self, Exception> {
        let factor = Array::from_f32(factor).as_dtype(self.weight.dtype())?;
        Ok(Self { weight: multiply(&self.weight, factor)?, ..self })
    }

    /// Any shape `[.., width]` to the same.
    pub(super) fn forward(&self, x: &Array) -> Result<Array, Exception> {
        rms_norm(x, Some(&self.weight), self.eps)
    }

    /// Norms each part of `[n, R / n, parts · width]` by itself: `[n, R / n, parts, width]`.
    pub(super) fn for_each_part(&self, x: &Array) -> Result<Array, Exception> {
        let width = self.weight.dim(0);
        self.forward(&x.reshape(&[x.dim(0), x.dim(1), x.dim(2) / width, width])?)
    }
}

/// The gated MLP (Shazeer 2020): `down(activation(gate(x)) · up(x))`.
pub(super) struct Mlp {
    gate: Linear,
    up: Linear,
    down: Linear,
    activation: GatedActivation,
}

impl Mlp {
    /// Loads `<path>.gate_proj`, `up_proj` and `down_proj`, of the model's usual inner width, with SwiGLU.
    pub(super) fn load(weights: &mut Weights, path: &str, config: &Config, bias: bool) -> Result<Self, EngineError> {
        Self::load_sized(weights, path, config.hidden_size, config.intermediate_size, bias)
    }

    /// The same with an inner width of its own.
    pub(super) fn load_sized(
        weights: &mut Weights,
        path: &str,
        hidden: usize,
        inner: usize,
        bias: bool,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            gate: Linear::load(weights, &format!("{path}.gate_proj"), hidden, inner, bias)?,
            up: Linear::load(weights, &format!("{path}.up_proj"), hidden, inner, bias)?,
            down: Linear::load(weights, &format!("{path}.down_proj"), inner, hidden, bias)?,
            activation: GatedActivation::SwiGlu,
        })
    }

    /// The same with another activation than SwiGLU.
    pub(super) fn with_activation(self, activation: GatedActivation) -> Self {
        Self { activation, ..self }
    }

    /// `[n, R / n, D]` to `[n, R / n, F]` to `[n, R / n, D]`.
    pub(super) fn forward(&self, x: &Array, path: ComputePath) -> Result<Array, Exception> {
        match path {
            ComputePath::Cpu => {
                let (gate, up) = (self.gate.for_parts_of(x)?, self.up.for_parts_of(x)?);
                let inner = self.activation.on_cpu(&by_rows(x, |x, _| Ok([gate.forward(x)?, up.forward(x)?]))?)?;
                self.down.forward_on(path, &inner)
            }
            ComputePath::Gpu => self.down.forward(&self.activation.lazy(&self.gate.forward(x)?, &self.up.forward(x)?)?),
        }
    }
}
