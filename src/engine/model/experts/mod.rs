//! Mixture of experts (Shazeer et al. 2017): a router scores the experts for each token; the best of them compute it, and
//! their outputs are added up, weighted by the scores. `router` chooses, `mlps` computes, `shared_expert`
//! computes every token beside them.
//!
//! Shapes as in docs/forward-pass.md: `R` rows, `D` hidden size, `E` experts, `k` experts per token.

mod mlps;
mod router;
mod shared_expert;

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::{add, expand_dims, multiply};

use super::Config;
use super::batch::{Batch, rows};
use super::compute_path::ComputePath;
use super::config::ExpertConfig;
use super::weights::Weights;
use crate::engine::EngineError;

pub(super) use self::mlps::ExpertMlps;
use self::router::Choice;
pub(super) use self::router::{Router, Scoring, SigmoidRounding};
pub(super) use self::shared_expert::SharedExpert;

/// Fewest choices of an expert, `R · k`, for which the GPU path sorts them.
const MIN_SORTED: usize = 64;

/// A router and its experts.
pub(super) struct Experts {
    router: Router,
    mlps: ExpertMlps,
    /// An expert that computes every token, beside the chosen ones.
    shared: Option<Box<SharedExpert>>,
}

impl Experts {
    /// Loads the router, `<path>.gate`, and the experts, `<path>.switch_mlp.*` or `<path>.experts.<n>.*`.
    pub(super) fn load(
        weights: &mut Weights,
        path: &str,
        config: &Config,
        experts: &ExpertConfig,
        scoring: Scoring,
    ) -> Result<Self, EngineError> {
        let router = Router::load(weights, &format!("{path}.gate"), config, experts, scoring)?;
        Ok(Self::new(router, ExpertMlps::load(weights, path, config, experts)?))
    }

    /// A router and its experts, loaded one by one; no expert for all tokens.
    pub(super) fn new(router: Router, mlps: ExpertMlps) -> Self {
        Self { router, mlps, shared: None }
    }

    /// The same with an expert that computes every token.
    pub(super) fn with_shared(self, shared: SharedExpert) -> Self {
        Self { shared: Some(Box::new(shared)), ..self }
    }

    /// `[n, R / n, D]` to the same shape.
    pub(super) fn forward(&self, x: &Array, batch: &Batch) -> Result<Array, Exception> {
        let chosen = self.routed(x, x, batch)?;
        if let Some(shared) = &self.shared { add(chosen, shared.forward(x, batch.path())?) } else { Ok(chosen) }
    }

    /// The outputs of the experts that the router chooses for other activations, weighted: `[n, R / n, D]` twice to the same shape.
    pub(super) fn routed(&self, x: &Array, chosen_for: &Array, batch: &Batch) -> Result<Array, Exception> {
        let Choice { experts, weights } = self.router.choose(chosen_for)?;
        let x = rows(x)?;
        let outputs = match batch.path() {
            ComputePath::Cpu if batch.is_row_exact() => self.mlps.by_token(&x, &experts)?,
            ComputePath::Gpu if experts.size() < MIN_SORTED => self.mlps.by_token(&x, &experts)?,
            path => self.mlps.by_expert(&x, &experts, path)?,
        };
        let sum = multiply(&outputs, expand_dims(&weights, -1)?)?.sum_axis(-2, false)?.as_dtype(x.dtype())?;
        batch.batched(sum)
    }
}
