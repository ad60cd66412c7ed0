//! Mixture of experts (Shazeer et al. 2017): a router scores the experts for each token; the best of them compute it, and
//! their outputs are added up, weighted by the scores.
//!
//! Shapes as in docs/forward-pass.md: `R` rows, `D` hidden size, `E` experts, `k` experts per token.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::{TryIndexOp, take_along_axis};
use mlx_rs::ops::{
    add, argpartition_axis, argsort, concatenate, divide, expand_dims, expand_dims_axes, floor_divide, multiply, sigmoid,
    softmax_axis,
};

use super::Config;
use super::activation::lazy_swiglu;
use super::batch::{Batch, rows};
use super::compute_path::ComputePath;
use super::config::ExpertConfig;
use super::layers::{Linear, Mlp};
use super::matrix::Matrix;
use super::weights::Weights;
use crate::engine::EngineError;

/// Fewest choices of an expert, `R · k`, for which the GPU path sorts them.
const MIN_SORTED: usize = 64;

/// A router and the experts' SwiGLU MLPs, with one stack `[E, output, input]` for each projection.
pub(super) struct Experts {
    router: Linear,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
    /// `E`.
    experts: i32,
    /// `k`.
    chosen: i32,
    /// See [`ExpertConfig::norm_topk_prob`].
    normalize: bool,
    /// An expert that computes every token, beside the chosen ones.
    shared: Option<Box<SharedExpert>>,
}

/// An expert that computes every token; a gate says how much of its output counts (Qwen).
pub(super) struct SharedExpert {
    mlp: Mlp,
    /// One output: before its sigmoid, the share of `mlp`'s output that is taken.
    gate: Linear,
}

impl SharedExpert {
    /// Loads `<path>.shared_expert`, of width `inner`, and `<path>.shared_expert_gate`.
    pub(super) fn load(weights: &mut Weights, path: &str, hidden: usize, inner: usize) -> Result<Self, EngineError> {
        Ok(Self {
            mlp: Mlp::load_sized(weights, &format!("{path}.shared_expert"), hidden, inner, false)?,
            gate: Linear::load(weights, &format!("{path}.shared_expert_gate"), hidden, 1, false)?,
        })
    }

    /// `[n, R / n, D]` to the same shape.
    fn forward(&self, x: &Array, path: ComputePath) -> Result<Array, Exception> {
        multiply(sigmoid(self.gate.forward(x)?)?, self.mlp.forward(x, path)?)
    }
}

impl Experts {
    /// Loads the router, `<path>.gate`, and the experts: one stack per projection, `<path>.switch_mlp.*`, as MLX stores them,
    /// or single matrices, `<path>.experts.<n>.*`, as Hugging Face does.
    pub(super) fn load(weights: &mut Weights, path: &str, config: &Config, experts: &ExpertConfig) -> Result<Self, EngineError> {
        let (hidden, inner, count) = (config.hidden_size, experts.moe_intermediate_size, experts.num_experts);
        let mut stack = |name: &str, input: usize, output: usize| {
            let stacked = format!("{path}.switch_mlp.{name}");
            if weights.has(&format!("{stacked}.weight")) {
                return weights.matrix(&stacked, &[count, output, input]);
            }
            let singles: Vec<String> = (0..count).map(|expert| format!("{path}.experts.{expert}.{name}.weight")).collect();
            weights.stack(&singles, &[output, input])
        };
        Ok(Self {
            gate: stack("gate_proj", hidden, inner)?,
            up: stack("up_proj", hidden, inner)?,
            down: stack("down_proj", inner, hidden)?,
            router: Linear::load(weights, &format!("{path}.gate"), hidden, count, false)?,
            experts: count as i32,
            chosen: experts.num_experts_per_tok as i32,
            normalize: experts.norm_topk_prob,
            shared: None,
        })
    }

    /// The same with an expert that computes every token.
    pub(super) fn with_shared(self, shared: SharedExpert) -> Self {
        Self { shared: Some(Box::new(shared)), ..self }
    }

    /// `[n, R / n, D]` to the same shape.
    pub(super) fn forward(&self, x: &Array, batch: &Batch) -> Result<Array, Exception> {
        let chosen = self.routed(x, batch)?;
        if let Some(shared) = &self.shared { add(chosen, shared.forward(x, batch.path())?) } else { Ok(chosen) }
    }

    /// The outputs of the chosen experts, weighted: `[n, R / n, D]` to the same shape.
    fn routed(&self, x: &Array, batch: &Batch) -> Result<Array, Exception> {
        let scores = softmax_axis(self.router.forward(x)?, -1, true)?;
        let (x, scores) = (rows(x)?, rows(&scores)?);
        let first = self.experts - self.chosen;
        let chosen = argpartition_axis(&scores, first, -1)?.try_index((.., first..))?;
        let mut shares = take_along_axis(&scores, &chosen, -1)?;
        if self.normalize {
            shares = divide(&shares, shares.sum_axis(-1, true)?)?;
        }
        let outputs = match batch.path() {
            ComputePath::Cpu if batch.is_row_exact() => self.by_token(&x, &chosen)?,
            ComputePath::Gpu if chosen.size() < MIN_SORTED => self.by_token(&x, &chosen)?,
            path => self.by_expert(&x, &chosen, path)?,
        };
        let sum = multiply(&outputs, expand_dims(&shares, -1)?)?.sum_axis(-2, false)?.as_dtype(x.dtype())?;
        batch.batched(sum)
    }

    /// The outputs of the experts `chosen` (`[R, k]`) for their tokens, `[R, D]` to `[R, k, D]`; each token is a product of
    /// its own, so that it gets the bits that it would get alone.
    fn by_token(&self, x: &Array, chosen: &Array) -> Result<Array, Exception> {
        let tokens = expand_dims_axes(x, &[-2, -3])?;
        self.mlp(&tokens, chosen, false)?.reshape(&[x.dim(0), self.chosen, x.dim(1)])
    }

    /// The same with the tokens sorted by expert, so that each expert's weights are read once for all of its tokens.
    fn by_expert(&self, x: &Array, chosen: &Array, path: ComputePath) -> Result<Array, Exception> {
        let shape = [x.dim(0), self.chosen, x.dim(1)];
        let chosen = chosen.reshape(&[-1])?;
        let order = argsort(&chosen)?;
        let token_of = floor_divide(&order, Array::from_slice(&[self.chosen as u32], &[1]))?;
        let (x, chosen) = (x.take_axis(token_of, 0)?, chosen.take_axis(&order, 0)?);
        let sorted = match path {
            ComputePath::Cpu => self.one_product_each(&x, &chosen)?,
            ComputePath::Gpu => self.mlp(&expand_dims(&x, 1)?, &chosen, true)?,
        };
        sorted.take_axis(argsort(&order)?, 0)?.reshape(&shape)
    }

    /// One product per expert, for tokens `[R · k, D]` sorted by expert: on the CPU, MLX's gathering product reads the weights
    /// again for each token. Waits for the router's choice.
    fn one_product_each(&self, x: &Array, chosen: &Array) -> Result<Array, Exception> {
        let chosen: Vec<u32> = chosen.to_vec_exact().map_err(|e| Exception::custom(e.to_string()))?;
        let (mut outputs, mut end) = (Vec::new(), 0);
        for same in chosen.chunk_by(|a, b| a == b) {
            let (start, expert) = (end, same[0] as i32);
            end += same.len() as i32;
            let x = expand_dims(x.try_index((start..end, ..))?, 0)?;
            let inner = lazy_swiglu(&self.gate.nth(expert)?.apply(&x)?, &self.up.nth(expert)?.apply(&x)?)?;
            outputs.push(self.down.nth(expert)?.apply(&inner)?);
        }
        concatenate(&outputs, 1)?.reshape(&[x.dim(0), 1, x.dim(1)])
    }

    /// Each `[1, D]` of `x` through the experts chosen for it, by MLX's gathering product. `sorted`: as in
    /// [`Matrix::apply_picked`].
    fn mlp(&self, x: &Array, chosen: &Array, sorted: bool) -> Result<Array, Exception> {
        let gate = self.gate.apply_picked(x, chosen, sorted)?;
        let up = self.up.apply_picked(x, chosen, sorted)?;
        self.down.apply_picked(&lazy_swiglu(&gate, &up)?, chosen, sorted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_expert_gives_the_outputs_of_by_token() {
        let normal =
            |shape: &[i32], seed| mlx_rs::random::normal::<f32>(shape, 0.0, 0.3, &mlx_rs::random::key(seed).unwrap()).unwrap();
        let stack = |output, input, seed| Matrix::OnCpu(normal(&[6, output, input], seed));
        let experts = Experts {
            router: Linear { weight: Matrix::Plain(normal(&[6, 32], 1)), bias: None },
            gate: stack(48, 32, 2),
            up: stack(48, 32, 3),
            down: stack(32, 48, 4),
            experts: 6,
            chosen: 2,
            normalize: true,
            shared: None,
        };
        // No token chooses the fourth expert.
        let x = normal(&[50, 32], 5);
        let chosen: Vec<u32> = (0..100).map(|n| [0, 5, 1, 2, 5, 4][n % 6]).collect();
        let chosen = Array::from_slice(&chosen, &[50, 2]);
        let alone = experts.by_token(&x, &chosen).unwrap();
        for path in ComputePath::ALL {
            let together = experts.by_expert(&x, &chosen, path).unwrap();
            let difference: f32 = together.subtract(&alone).unwrap().abs().unwrap().max(false).unwrap().item_exact();
            assert!(together.shape() == [50, 2, 32] && difference < 1e-5, "{path:?}: differ by {difference}");
        }
    }
}
