//! A layer of experts: a router scores them for each token, and the best of them answer, weighted by their scores.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::{TryIndexOp, take_along_axis};
use mlx_rs::ops::{argpartition_axis, argsort, divide, expand_dims, expand_dims_axes, floor_divide, multiply, softmax_axis};

use super::Config;
use super::batch::Batch;
use super::families::ExpertArguments;
use super::layers::{Linear, swiglu};
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
        let (x, scores) = (batch.used(x)?, batch.used(&scores)?);
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
        let x = expand_dims(x, 1)?.take_axis(token_of, 0)?;
        let sorted = self.mlp(&x, &chosen.take_axis(&order, 0)?, true)?;
        sorted.take_axis(argsort(&order)?, 0)?.reshape(&shape)
    }

    fn mlp(&self, x: &Array, chosen: &Array, sorted: bool) -> Result<Array, Exception> {
        let gate = self.gate.apply_picked(x, chosen, sorted)?;
        let up = self.up.apply_picked(x, chosen, sorted)?;
        self.down.apply_picked(&swiglu(&gate, &up)?, chosen, sorted)
    }
}
