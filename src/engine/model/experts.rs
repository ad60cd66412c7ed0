//! A layer of experts: a router scores them for each token, and the best of them answer, weighted by their scores.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::{TryIndexOp, take_along_axis};
use mlx_rs::ops::{
    argpartition_axis, argsort, concatenate, divide, expand_dims, expand_dims_axes, floor_divide, multiply, softmax_axis,
};

use super::Config;
use super::activation::lazy_swiglu;
use super::batch::{Batch, rows};
use super::cpu;
use super::families::ExpertArguments;
use super::layers::Linear;
use super::matrix::Matrix;
use super::weights::Weights;
use crate::engine::EngineError;

/// The router and the experts' MLPs, each projection of all experts in one stack.
pub struct Experts {
    router: Linear,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
    experts: i32,
    /// Experts that a token goes to.
    chosen: i32,
    /// Whether the chosen experts' shares are made to add up to 1.
    normalize: bool,
}

impl Experts {
    /// `<path>.gate` is the router. The experts are one stack for each projection, `<path>.switch_mlp.*`, as MLX keeps
    /// them, or single matrices, `<path>.experts.<n>.*`, as Hugging Face does.
    pub fn load(weights: &mut Weights, path: &str, config: &Config, arguments: &ExpertArguments) -> Result<Self, EngineError> {
        let (hidden, inner, experts) = (config.hidden_size, arguments.moe_intermediate_size, arguments.num_experts);
        let mut stack = |name: &str, input: usize, output: usize| {
            let stacked = format!("{path}.switch_mlp.{name}");
            if weights.has(&format!("{stacked}.weight")) {
                return weights.matrix(&stacked, &[experts, output, input]);
            }
            let singles: Vec<String> = (0..experts).map(|expert| format!("{path}.experts.{expert}.{name}.weight")).collect();
            weights.stack(&singles, &[output, input])
        };
        Ok(Self {
            gate: stack("gate_proj", hidden, inner)?,
            up: stack("up_proj", hidden, inner)?,
            down: stack("down_proj", inner, hidden)?,
            router: Linear::load(weights, &format!("{path}.gate"), hidden, experts, false)?,
            experts: experts as i32,
            chosen: arguments.num_experts_per_tok as i32,
            normalize: arguments.norm_topk_prob,
        })
    }

    /// `[blocks, rows, hidden]` to the same.
    pub fn forward(&self, x: &Array, batch: &Batch) -> Result<Array, Exception> {
        let scores = softmax_axis(self.router.forward(x)?, -1, true)?;
        let (x, scores) = (rows(x)?, rows(&scores)?);
        let first = self.experts - self.chosen;
        let chosen = argpartition_axis(&scores, first, -1)?.try_index((.., first..))?;
        let mut shares = take_along_axis(&scores, &chosen, -1)?;
        if self.normalize {
            shares = divide(&shares, shares.sum_axis(-1, true)?)?;
        }
        let answers = self.answers(&x, &chosen, batch.few())?;
        let mixed = multiply(&answers, expand_dims(&shares, -1)?)?.sum_axis(-2, false)?.as_dtype(x.dtype())?;
        batch.blocks(mixed)
    }

    /// What each chosen expert says of its token: `[rows, hidden]` to `[rows, chosen, hidden]`. Unless each token is to be
    /// computed by itself, those of one expert are computed together, so that its weights are read once.
    fn answers(&self, x: &Array, chosen: &Array, alone: bool) -> Result<Array, Exception> {
        let (rows, hidden) = (x.dim(0), x.dim(1));
        let shape = [rows, self.chosen, hidden];
        if alone {
            let x = expand_dims_axes(x, &[-2, -3])?;
            return self.mlp(&x, chosen, false)?.reshape(&shape);
        }
        let chosen = chosen.reshape(&[-1])?;
        let order = argsort(&chosen)?;
        let token_of = floor_divide(&order, Array::from_slice(&[self.chosen as u32], &[1]))?;
        let (x, chosen) = (x.take_axis(token_of, 0)?, chosen.take_axis(&order, 0)?);
        let sorted = match cpu::is_default()? {
            true => self.one_by_one(&x, &chosen)?,
            false => self.mlp(&expand_dims(&x, 1)?, &chosen, true)?,
        };
        sorted.take_axis(argsort(&order)?, 0)?.reshape(&shape)
    }

    /// Expert by expert, for tokens sorted by theirs: MLX's gathering product goes token by token on the CPU. Waits for
    /// what is chosen to be known.
    fn one_by_one(&self, x: &Array, chosen: &Array) -> Result<Array, Exception> {
        let chosen: Vec<u32> = chosen.to_vec_exact().map_err(|e| Exception::custom(e.to_string()))?;
        let (mut answers, mut end) = (Vec::new(), 0);
        for same in chosen.chunk_by(|a, b| a == b) {
            let (start, expert) = (end, same[0] as i32);
            end += same.len() as i32;
            let x = expand_dims(x.try_index((start..end, ..))?, 0)?;
            let inner = lazy_swiglu(&self.gate.nth(expert)?.apply(&x)?, &self.up.nth(expert)?.apply(&x)?)?;
            answers.push(self.down.nth(expert)?.apply(&inner)?);
        }
        concatenate(&answers, 1)?.reshape(&[x.dim(0), 1, x.dim(1)])
    }

    /// Each `[1, hidden]` of `x` through the experts chosen for it.
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
    fn expert_by_expert_gives_what_gathering_gives() {
        let normal =
            |shape: &[i32], seed| mlx_rs::random::normal::<f32>(shape, 0.0, 0.3, &mlx_rs::random::key(seed).unwrap()).unwrap();
        let stack = |output, input, seed| Matrix::Plain(normal(&[6, output, input], seed));
        let experts = Experts {
            router: Linear { weight: Matrix::Plain(normal(&[6, 32], 1)), bias: None },
            gate: stack(48, 32, 2),
            up: stack(48, 32, 3),
            down: stack(32, 48, 4),
            experts: 6,
            chosen: 2,
            normalize: true,
        };
        // The fourth expert has nothing to say.
        let x = normal(&[50, 32], 5);
        let chosen: Vec<u32> = (0..100).map(|n| [0, 5, 1, 2, 5, 4][n % 6]).collect();
        let chosen = Array::from_slice(&chosen, &[50, 2]);
        let [together, alone] = [false, true].map(|alone| experts.answers(&x, &chosen, alone).unwrap());
        let difference: f32 = together.subtract(&alone).unwrap().abs().unwrap().max(false).unwrap().item_exact();
        assert!(together.shape() == [50, 2, 32] && difference < 1e-5, "differ by {difference}");
    }
}
