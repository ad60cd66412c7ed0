//! The router of a mixture of experts: which experts compute a token, and how much each of them counts.
//!
//! Shapes as in docs/forward-pass.md: `R` rows, `D` hidden size, `E` experts, `k` experts per token.

use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::{TryIndexOp, take_along_axis};
use mlx_rs::ops::{add, argpartition_axis, divide, multiply, sigmoid, softmax_axis};
use mlx_rs::{Array, Dtype};

use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::batch::rows;
use crate::engine::model::config::{ExpertConfig, SigmoidRouting};
use crate::engine::model::layers::{Linear, RmsNorm};
use crate::engine::model::weights::Weights;

/// Scores the experts for each token, by a linear projection.
pub(in crate::engine::model) struct Router {
    /// Of what is scored, if it is normed (Gemma).
    norm: Option<RmsNorm>,
    scores: Linear,
    scoring: Scoring,
    /// `E`.
    experts: i32,
    /// `k`.
    chosen: i32,
    /// See [`ExpertConfig::norm_topk_prob`].
    normalize: bool,
}

/// How a router's scores choose experts and weigh them.
pub(in crate::engine::model) enum Scoring {
    /// The softmax over all experts does both (Shazeer et al. 2017; Qwen).
    Softmax,
    /// The scores choose as they are; the softmax over those of the chosen weighs (gpt-oss). The projection has a bias.
    SoftmaxOfChosen,
    /// The same without a bias, in the precision of activations, and times a factor for each expert (Gemma).
    ScaledSoftmaxOfChosen {
        /// `[E]`.
        factors: Array,
    },
    /// Each expert has a sigmoid of its own. A correction is added for the choice alone: training keeps the experts evenly used
    /// by it (DeepSeek-V3; GLM, MiniMax).
    Sigmoid {
        /// `[E]`.
        correction: Array,
        /// Factor of all weights.
        scale: f32,
        rounding: SigmoidRounding,
    },
}

/// What a router with sigmoids rounds where activations are in half precision; all else is f32.
#[derive(Clone, Copy)]
pub(in crate::engine::model) enum SigmoidRounding {
    /// The scores, before their sigmoids (GLM).
    Scores,
    /// The weights in the end (MiniMax).
    Weights,
}

/// The experts that compute each token.
pub(super) struct Choice {
    /// Their numbers, `[R, k]`, in no particular order.
    pub experts: Array,
    /// By how much each one's output counts, `[R, k]`.
    pub weights: Array,
}

impl Scoring {
    /// Sigmoids, with the correction in the tensor `correction`, `[E]`.
    pub(in crate::engine::model) fn sigmoid(
        weights: &mut Weights,
        correction: &str,
        experts: &ExpertConfig,
        routing: &SigmoidRouting,
        rounding: SigmoidRounding,
    ) -> Result<Self, EngineError> {
        let correction = weights.vector(correction, experts.num_experts)?;
        Ok(Self::Sigmoid { correction, scale: routing.routed_scaling_factor, rounding })
    }
}

impl Router {
    /// Loads `<path>.weight`, and `<path>.bias` where the way of choosing has one.
    pub(in crate::engine::model) fn load(
        weights: &mut Weights,
        path: &str,
        config: &Config,
        experts: &ExpertConfig,
        scoring: Scoring,
    ) -> Result<Self, EngineError> {
        let ExpertConfig { num_experts, num_experts_per_tok, norm_topk_prob, .. } = *experts;
        let scores = Linear::load(weights, path, config.hidden_size, num_experts, matches!(scoring, Scoring::SoftmaxOfChosen))?;
        let (experts, chosen) = (num_experts as i32, num_experts_per_tok as i32);
        Ok(Self { norm: None, scores, scoring, experts, chosen, normalize: norm_topk_prob })
    }

    /// The same that norms what it scores.
    pub(in crate::engine::model) fn with_norm(self, norm: RmsNorm) -> Self {
        Self { norm: Some(norm), ..self }
    }

    /// Chooses for each row of `x`, `[n, R / n, D]`.
    pub(super) fn choose(&self, x: &Array) -> Result<Choice, Exception> {
        let normed = self.norm.as_ref().map(|norm| norm.forward(x)).transpose()?;
        let x = normed.as_ref().unwrap_or(x);
        let (scores, preferences) = match &self.scoring {
            Scoring::Softmax => {
                let scores = softmax_axis(rows(&self.scores.forward(x)?)?, -1, true)?;
                (scores.clone(), scores)
            }
            Scoring::SoftmaxOfChosen | Scoring::ScaledSoftmaxOfChosen { .. } => {
                let scores = rows(&self.scores.forward(x)?)?;
                (scores.clone(), scores)
            }
            Scoring::Sigmoid { correction, rounding, .. } => {
                let scores = match rounding {
                    SigmoidRounding::Scores => self.scores.forward(x)?.as_dtype(Dtype::Float32)?,
                    SigmoidRounding::Weights => self.scores.forward(&x.as_dtype(Dtype::Float32)?)?,
                };
                let scores = sigmoid(rows(&scores)?)?;
                (scores.clone(), add(&scores, correction)?)
            }
        };
        let first = self.experts - self.chosen;
        let experts = argpartition_axis(&preferences, first, -1)?.try_index((.., first..))?;
        let mut weights = take_along_axis(&scores, &experts, -1)?;
        match &self.scoring {
            Scoring::SoftmaxOfChosen => return Ok(Choice { experts, weights: softmax_axis(weights, -1, true)? }),
            Scoring::ScaledSoftmaxOfChosen { factors } => {
                let weights = multiply(softmax_axis(weights, -1, false)?, factors.take_axis(&experts, 0)?)?;
                return Ok(Choice { experts, weights });
            }
            Scoring::Softmax | Scoring::Sigmoid { .. } => {}
        }
        if self.normalize {
            weights = divide(&weights, weights.sum_axis(-1, true)?)?;
        }
        if let Scoring::Sigmoid { scale, rounding, .. } = self.scoring {
            weights = multiply(weights, Array::from_f32(scale))?;
            if let SigmoidRounding::Weights = rounding {
                weights = weights.as_dtype(x.dtype())?;
            }
        }
        Ok(Choice { experts, weights })
    }
}
