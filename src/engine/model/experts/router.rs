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
use crate::engine::model::layers::Linear;
use crate::engine::model::weights::Weights;

/// Scores the experts for each token, by a linear projection.
pub(super) struct Router {
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
enum Scoring {
    /// The softmax over all experts does both (Shazeer et al. 2017; Qwen).
    Softmax,
    /// Each expert has a sigmoid of its own. A correction is added for the choice alone: training keeps the experts evenly used
    /// by it (DeepSeek-V3; GLM).
    Sigmoid {
        /// `[E]`.
        correction: Array,
        /// Factor of all weights.
        scale: f32,
    },
}

/// The experts that compute each token.
pub(super) struct Choice {
    /// Their numbers, `[R, k]`, in no particular order.
    pub experts: Array,
    /// By how much each one's output counts, `[R, k]`.
    pub weights: Array,
}

impl Router {
    /// Loads `<path>.weight`, and for sigmoids `<path>.e_score_correction_bias`, `[E]`.
    pub(super) fn load(
        weights: &mut Weights,
        path: &str,
        config: &Config,
        experts: &ExpertConfig,
        sigmoid: Option<&SigmoidRouting>,
    ) -> Result<Self, EngineError> {
        let scoring = match sigmoid {
            None => Scoring::Softmax,
            Some(routing) => Scoring::Sigmoid {
                correction: weights.vector(&format!("{path}.e_score_correction_bias"), experts.num_experts)?,
                scale: routing.routed_scaling_factor,
            },
        };
        let ExpertConfig { num_experts, num_experts_per_tok, norm_topk_prob, .. } = *experts;
        let scores = Linear::load(weights, path, config.hidden_size, num_experts, false)?;
        let (experts, chosen) = (num_experts as i32, num_experts_per_tok as i32);
        Ok(Self { scores, scoring, experts, chosen, normalize: norm_topk_prob })
    }

    /// Chooses for each row of `x`, `[n, R / n, D]`.
    pub(super) fn choose(&self, x: &Array) -> Result<Choice, Exception> {
        let scores = rows(&self.scores.forward(x)?)?;
        let (scores, preferences) = match &self.scoring {
            Scoring::Softmax => {
                let scores = softmax_axis(scores, -1, true)?;
                (scores.clone(), scores)
            }
            Scoring::Sigmoid { correction, .. } => {
                let scores = sigmoid(scores.as_dtype(Dtype::Float32)?)?;
                (scores.clone(), add(&scores, correction)?)
            }
        };
        let first = self.experts - self.chosen;
        let experts = argpartition_axis(&preferences, first, -1)?.try_index((.., first..))?;
        let mut weights = take_along_axis(&scores, &experts, -1)?;
        if self.normalize {
            weights = divide(&weights, weights.sum_axis(-1, true)?)?;
        }
        if let Scoring::Sigmoid { scale, .. } = self.scoring {
            weights = multiply(weights, Array::from_f32(scale))?;
        }
        Ok(Choice { experts, weights })
    }
}
