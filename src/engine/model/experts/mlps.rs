//! The experts' MLPs, and the ways to compute those that were chosen.
//!
//! Shapes as in docs/forward-pass.md: `R` rows, `D` hidden size, `E` experts, `k` experts per token.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::ops::{add, argsort, concatenate, expand_dims, expand_dims_axes, floor_divide};

use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::activation::{lazy_clamped_swiglu, lazy_geglu, lazy_swiglu};
use crate::engine::model::compute_path::ComputePath;
use crate::engine::model::config::ExpertConfig;
use crate::engine::model::matrix::Matrix;
use crate::engine::model::weights::Weights;

/// Gated MLPs, with one stack for each projection.
pub(in crate::engine::model) struct ExpertMlps {
    gate: Projections,
    up: Projections,
    down: Projections,
    activation: Activation,
}

/// What the gates and ups become: see the functions of [`activation`](crate::engine::model::activation).
type Activation = fn(&Array, &Array) -> Result<Array, Exception>;

/// One projection of all experts.
struct Projections {
    /// `[E, output, input]`.
    weight: Matrix,
    /// `[E, output]`.
    bias: Option<Array>,
}

impl ExpertMlps {
    /// SwiGLU MLPs. Loads one stack per projection, `<path>.switch_mlp.*`, as MLX stores them, or single matrices,
    /// `<path>.experts.<n>.*`, as Hugging Face does.
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
        let mut stack =
            |name, input, output| Ok::<_, EngineError>(Projections { weight: stack(name, input, output)?, bias: None });
        Ok(Self {
            gate: stack("gate_proj", hidden, inner)?,
            up: stack("up_proj", hidden, inner)?,
            down: stack("down_proj", inner, hidden)?,
            activation: lazy_swiglu,
        })
    }

    /// MLPs with biases and clamped SwiGLU (gpt-oss). Loads stacks `<path>.gate_proj`, `up_proj` and `down_proj`.
    pub(in crate::engine::model) fn load_clamped(
        weights: &mut Weights,
        path: &str,
        config: &Config,
        experts: &ExpertConfig,
    ) -> Result<Self, EngineError> {
        Self::load_stacked(weights, path, config, experts, true, lazy_clamped_swiglu)
    }

    /// MLPs with GeGLU (Gemma). Loads the same stacks.
    pub(in crate::engine::model) fn load_geglu(
        weights: &mut Weights,
        path: &str,
        config: &Config,
        experts: &ExpertConfig,
    ) -> Result<Self, EngineError> {
        Self::load_stacked(weights, path, config, experts, false, lazy_geglu)
    }

    fn load_stacked(
        weights: &mut Weights,
        path: &str,
        config: &Config,
        experts: &ExpertConfig,
        bias: bool,
        activation: Activation,
    ) -> Result<Self, EngineError> {
        let (hidden, inner, count) = (config.hidden_size, experts.moe_intermediate_size, experts.num_experts);
        let mut stack = |name: &str, input: usize, output: usize| {
            let weight = weights.matrix(&format!("{path}.{name}"), &[count, output, input])?;
            let tensor = || weights.tensor(&format!("{path}.{name}.bias"), &[count, output]);
            Ok::<_, EngineError>(Projections { weight, bias: bias.then(tensor).transpose()? })
        };
        Ok(Self {
            gate: stack("gate_proj", hidden, inner)?,
            up: stack("up_proj", hidden, inner)?,
            down: stack("down_proj", inner, hidden)?,
            activation,
        })
    }

    /// The outputs of the experts `chosen` (`[R, k]`) for their tokens, `[R, D]` to `[R, k, D]`; each token is a product of
    /// its own, so that it gets the bits that it would get alone.
    pub(super) fn by_token(&self, x: &Array, chosen: &Array) -> Result<Array, Exception> {
        let tokens = expand_dims_axes(x, &[-2, -3])?;
        self.apply(&tokens, chosen, false)?.reshape(&[x.dim(0), chosen.dim(1), x.dim(1)])
    }

    /// The same with the tokens sorted by expert, so that each expert's weights are read once for all of its tokens.
    pub(super) fn by_expert(&self, x: &Array, chosen: &Array, path: ComputePath) -> Result<Array, Exception> {
        let shape = [x.dim(0), chosen.dim(1), x.dim(1)];
        let experts_per_token = Array::from_slice(&[chosen.dim(1) as u32], &[1]);
        let chosen = chosen.reshape(&[-1])?;
        let order = argsort(&chosen)?;
        let token_of = floor_divide(&order, experts_per_token)?;
        let (x, chosen) = (x.take_axis(token_of, 0)?, chosen.take_axis(&order, 0)?);
        let sorted = match path {
            ComputePath::Cpu => self.one_product_each(&x, &chosen)?,
            ComputePath::Gpu => self.apply(&expand_dims(&x, 1)?, &chosen, true)?,
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
            let inner = (self.activation)(&self.gate.apply(expert, &x)?, &self.up.apply(expert, &x)?)?;
            outputs.push(self.down.apply(expert, &inner)?);
        }
        concatenate(&outputs, 1)?.reshape(&[x.dim(0), 1, x.dim(1)])
    }

    /// Each `[1, D]` of `x` through the experts chosen for it, by MLX's gathering product. `sorted`: as in
    /// [`Matrix::apply_picked`].
    fn apply(&self, x: &Array, chosen: &Array, sorted: bool) -> Result<Array, Exception> {
        let gate = self.gate.apply_picked(x, chosen, sorted)?;
        let up = self.up.apply_picked(x, chosen, sorted)?;
        self.down.apply_picked(&(self.activation)(&gate, &up)?, chosen, sorted)
    }
}

impl Projections {
    /// One expert's: `[1, rows, input]` to `[1, rows, output]`.
    fn apply(&self, expert: i32, x: &Array) -> Result<Array, Exception> {
        let product = self.weight.nth(expert)?.apply(x)?;
        match &self.bias {
            Some(bias) => add(product, bias.try_index((expert, ..))?),
            None => Ok(product),
        }
    }

    /// As [`Matrix::apply_picked`].
    fn apply_picked(&self, x: &Array, chosen: &Array, sorted: bool) -> Result<Array, Exception> {
        let products = self.weight.apply_picked(x, chosen, sorted)?;
        match &self.bias {
            Some(bias) => add(products, expand_dims(bias.take_axis(chosen, 0)?, -2)?),
            None => Ok(products),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_expert_gives_the_outputs_of_by_token() {
        let normal =
            |shape: &[i32], seed| mlx_rs::random::normal::<f32>(shape, 0.0, 0.3, &mlx_rs::random::key(seed).unwrap()).unwrap();
        let stack = |output, input, seed| {
            let (weight, bias) = (Matrix::OnCpu(normal(&[6, output, input], seed)), normal(&[6, output], seed + 9));
            Projections { weight, bias: Some(bias) }
        };
        let (gate, up, down) = (stack(48, 32, 2), stack(48, 32, 3), stack(32, 48, 4));
        let experts = ExpertMlps { gate, up, down, activation: lazy_swiglu };
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
