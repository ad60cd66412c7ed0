//! The gated delta net (Yang et al. 2024), the recurrent layer of Qwen3-Next and later Qwen models: instead of keys and values of
//! all tokens it keeps one state of fixed size.
//!
//! A token's queries, keys and values pass a short causal convolution, then the delta rule: the state, a matrix per head, decays,
//! is corrected so that it maps the token's key closer to the token's value, and is read at the token's query. The compute paths
//! differ in the delta rule alone.
//!
//! Shapes: `R` rows, the new tokens of all sequences; `L` those of one; `D` hidden size; `Hk` key heads, `Hv` value heads; `dk`
//! and `dv` their widths; `C = 2 · Hk · dk + Hv · dv` channels of the convolution; `K` the tokens that it sees.

use mlx_rs::error::Exception;
use mlx_rs::fast::rms_norm;
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::ops::{add, concatenate, conv1d, exp, logaddexp, multiply, negative, sigmoid, zeros_dtype};
use mlx_rs::{Array, Dtype, array};

use super::Config;
use super::activation::{GatedActivation, lazy_swiglu};
use super::batch::{Batch, rows};
use super::compute_path::ComputePath;
use super::config::DeltaConfig;
use super::cpu::cores::{by_rows, joined};
use super::delta_rule::{DeltaInputs, delta_rule};
use super::kv_cache::KvCache;
use super::layers::{Linear, RmsNorm};
use super::recurrent_state::{LayerState, Taken};
use super::weights::Weights;
use crate::engine::EngineError;

/// Added to the sum of squares by which queries and keys are normalised.
const NORM_EPS: f32 = 1e-6;

/// A gated delta net.
pub(super) struct GatedDeltaNet {
    sizes: DeltaConfig,
    projections: Projections,
    /// `[C, K, 1]`.
    conv: Array,
    /// `-exp(A_log)`, `[Hv]`: how fast each head forgets, times its step.
    rate: Array,
    /// Added to a head's step before its softplus, `[Hv]`.
    step_bias: Array,
    /// Over the `dv` numbers of a head's output.
    norm: RmsNorm,
    output: Linear,
}

/// The projections of a token, as the model folder has them.
enum Projections {
    /// Two matrices, whose outputs are grouped by key head (Qwen3-Next).
    ByKeyHead { qkvz: Linear, ba: Linear },
    /// A matrix for each purpose (Qwen3.5).
    Apart { qkv: Linear, z: Linear, b: Linear, a: Linear },
}

/// A token's projections, each `[n, R / n, width]`: the convolution's input, `C` wide; the output's gates, `Hv · dv`; the
/// strengths before their sigmoid and the steps before their softplus, `Hv` each.
type Projected = [Array; 4];

impl Projections {
    /// The same for the parts of `x`: see [`Linear::for_parts_of`].
    fn for_parts_of(&self, x: &Array) -> Result<Self, Exception> {
        let of = |layer: &Linear| layer.for_parts_of(x);
        Ok(match self {
            Self::ByKeyHead { qkvz, ba } => Self::ByKeyHead { qkvz: of(qkvz)?, ba: of(ba)? },
            Self::Apart { qkv, z, b, a } => Self::Apart { qkv: of(qkv)?, z: of(z)?, b: of(b)?, a: of(a)? },
        })
    }
}

impl GatedDeltaNet {
    /// Loads a layer's `linear_attn`, with the projections of Qwen3-Next.
    pub(super) fn load_by_key_head(
        weights: &mut Weights,
        layer: usize,
        config: &Config,
        sizes: DeltaConfig,
    ) -> Result<Self, EngineError> {
        let values = sizes.value_heads * sizes.value_width;
        let mut linear = |name: &str, output: usize| {
            Linear::load(weights, &format!("model.layers.{layer}.linear_attn.{name}"), config.hidden_size, output, false)
        };
        let qkvz = linear("in_proj_qkvz", sizes.channels() + values)?;
        let projections = Projections::ByKeyHead { qkvz, ba: linear("in_proj_ba", 2 * sizes.value_heads)? };
        Self::load(weights, layer, config, sizes, projections)
    }

    /// The same with the projections of Qwen3.5.
    pub(super) fn load_apart(
        weights: &mut Weights,
        layer: usize,
        config: &Config,
        sizes: DeltaConfig,
    ) -> Result<Self, EngineError> {
        let mut linear = |name: &str, output: usize| {
            Linear::load(weights, &format!("model.layers.{layer}.linear_attn.{name}"), config.hidden_size, output, false)
        };
        let projections = Projections::Apart {
            qkv: linear("in_proj_qkv", sizes.channels())?,
            z: linear("in_proj_z", sizes.value_heads * sizes.value_width)?,
            b: linear("in_proj_b", sizes.value_heads)?,
            a: linear("in_proj_a", sizes.value_heads)?,
        };
        Self::load(weights, layer, config, sizes, projections)
    }

    fn load(
        weights: &mut Weights,
        layer: usize,
        config: &Config,
        sizes: DeltaConfig,
        projections: Projections,
    ) -> Result<Self, EngineError> {
        let path = format!("model.layers.{layer}.linear_attn");
        let (heads, width) = (sizes.value_heads, sizes.value_width);
        let rate = weights.vector(&format!("{path}.A_log"), heads)?.as_dtype(Dtype::Float32)?;
        Ok(Self {
            conv: weights.tensor(&format!("{path}.conv1d.weight"), &[sizes.channels(), sizes.conv_tokens, 1])?,
            rate: negative(exp(&rate)?)?,
            step_bias: weights.vector(&format!("{path}.dt_bias"), heads)?,
            norm: RmsNorm::load(weights, &format!("{path}.norm"), width, config)?,
            output: Linear::load(weights, &format!("{path}.out_proj"), heads * width, config.hidden_size, false)?,
            projections,
            sizes,
        })
    }

    /// `[n, R / n, D]` to the same shape. Advances the state number `slot` of the caches.
    pub(super) fn forward(&self, x: &Array, slot: usize, batch: &mut Batch) -> Result<Array, Exception> {
        let path = batch.path();
        let projected = match path {
            ComputePath::Cpu => {
                let projections = self.projections.for_parts_of(x)?;
                let parts = by_rows(x, |x, _| self.project(&projections, x))?;
                [joined(&parts, 0)?, joined(&parts, 1)?, joined(&parts, 2)?, joined(&parts, 3)?]
            }
            ComputePath::Gpu => self.project(&self.projections, x)?,
        };
        let [inputs, gates, strengths, steps] = &projected;
        let (inputs, strengths, steps) = (rows(inputs)?, rows(strengths)?, rows(steps)?);
        let strengths = sigmoid(strengths)?;
        let log_decays = self.log_decays(&steps)?;
        let mut outputs = Vec::new();
        for (range, cache) in batch.sequences() {
            let own = |array: &Array| {
                if range.len() as i32 == array.dim(0) { Ok(array.clone()) } else { array.try_index((range.clone(), ..)) }
            };
            outputs.push(self.advance(&own(&inputs)?, &own(&log_decays)?, &own(&strengths)?, slot, cache)?);
        }
        let outputs = if let [one] = &outputs[..] { one.clone() } else { concatenate(&outputs, 0)? };
        let normed = self.norm.forward(&outputs.as_dtype(x.dtype())?)?.reshape(gates.shape())?;
        let gated = match path {
            ComputePath::Cpu => GatedActivation::SwiGlu.on_cpu(&[[gates.clone(), normed]])?,
            // In f32, as in mlx-lm.
            ComputePath::Gpu => lazy_swiglu(&gates.as_dtype(Dtype::Float32)?, &normed)?.as_dtype(x.dtype())?,
        };
        match path {
            ComputePath::Cpu => {
                let output = self.output.for_parts_of(&gated)?;
                joined(&by_rows(&gated, |gated, _| Ok([output.forward(gated)?]))?, 0)
            }
            ComputePath::Gpu => self.output.forward(&gated),
        }
    }

    /// The projections of `[n, R / n, D]`.
    fn project(&self, projections: &Projections, x: &Array) -> Result<Projected, Exception> {
        let DeltaConfig { key_heads, value_heads, key_width, value_width, .. } = self.sizes;
        match projections {
            Projections::Apart { qkv, z, b, a } => Ok([qkv.forward(x)?, z.forward(x)?, b.forward(x)?, a.forward(x)?]),
            Projections::ByKeyHead { qkvz, ba } => {
                let (keys, group) = (key_width as i32, (value_heads / key_heads) as i32);
                let values = group * value_width as i32;
                let by_head = |projected: Array, cuts: &[i32]| {
                    let heads = projected.reshape(&[x.dim(0), x.dim(1), key_heads as i32, -1])?;
                    let parts = heads.split_at_indices(cuts, -1)?;
                    parts.iter().map(|part| part.reshape(&[x.dim(0), x.dim(1), -1])).collect::<Result<Vec<_>, _>>()
                };
                let qkvz = by_head(qkvz.forward(x)?, &[keys, 2 * keys, 2 * keys + values])?;
                let ba = by_head(ba.forward(x)?, &[group])?;
                Ok([concatenate(&qkvz[..3], -1)?, qkvz[3].clone(), ba[0].clone(), ba[1].clone()])
            }
        }
    }

    /// The logarithms of the decays, `[R, Hv]`: `-exp(A_log) · softplus(step + bias)`, in f32.
    fn log_decays(&self, steps: &Array) -> Result<Array, Exception> {
        let steps = add(steps, &self.step_bias)?;
        let softplus = logaddexp(&steps, array!(0.0_f32).as_dtype(steps.dtype())?)?;
        multiply(&self.rate, softplus)
    }

    /// Takes a sequence's new tokens: the convolution's inputs `[L, C]`, decays and strengths `[L, Hv]`, to outputs
    /// `[L, Hv, dv]`.
    fn advance(
        &self,
        inputs: &Array,
        log_decays: &Array,
        strengths: &Array,
        slot: usize,
        cache: &mut KvCache,
    ) -> Result<Array, Exception> {
        let DeltaConfig { key_heads, value_heads, key_width, value_width, conv_tokens, .. } = self.sizes;
        let (path, before) = (cache.path(), conv_tokens as i32 - 1);
        let LayerState { conv, delta } = match cache.recurrent_state(slot) {
            Some(state) => state.clone(),
            None => LayerState {
                conv: zeros_dtype(&[1, before, inputs.dim(1)], inputs.dtype())?,
                delta: zeros_dtype(&[value_heads as i32, value_width as i32, key_width as i32], Dtype::Float32)?,
            },
        };
        let conv_inputs = concatenate(&[conv, inputs.reshape(&[1, -1, inputs.dim(1)])?], 1)?;
        let mixed = self.convolved(&conv_inputs, path)?;
        let keys = (key_heads * key_width) as i32;
        let parts = mixed.split_at_indices(&[keys, 2 * keys], -1)?;
        let heads = |part: &Array, width: usize| part.reshape(&[part.dim(1), -1, width as i32]);
        let delta_inputs = DeltaInputs {
            queries: self.normalised(&heads(&parts[0], key_width)?, 1.0 / key_width as f32)?,
            keys: self.normalised(&heads(&parts[1], key_width)?, (key_width as f32).powf(-0.5))?,
            values: heads(&parts[2], value_width)?,
            log_decays: log_decays.clone(),
            strengths: strengths.clone(),
        };
        let (outputs, after) = delta_rule(path, &delta_inputs, &delta)?;
        let conv = conv_inputs.try_index((.., -before.., ..))?.contiguous()?;
        let taken = Taken { conv_inputs, delta_before: delta, inputs: delta_inputs };
        cache.advance_recurrent(slot, LayerState { conv, delta: after }, taken);
        Ok(outputs)
    }

    /// The convolution and its SiLU: `[1, K - 1 + L, C]` to `[1, L, C]`.
    fn convolved(&self, inputs: &Array, path: ComputePath) -> Result<Array, Exception> {
        let mixed = match path {
            ComputePath::Gpu => conv1d(inputs, &self.conv, None, None, None, self.conv.dim(0))?,
            // A CPU has no kernel for one channel at a time: shifted inputs are multiplied and added up instead.
            ComputePath::Cpu => {
                let tokens = inputs.dim(1) - self.conv.dim(1) + 1;
                let shifted = |by: i32| {
                    let weight = self.conv.try_index((.., by, 0))?;
                    multiply(inputs.try_index((.., by..by + tokens, ..))?, weight)
                };
                (1..self.conv.dim(1)).try_fold(shifted(0)?, |sum, by| add(sum, shifted(by)?))?
            }
        };
        multiply(&mixed, sigmoid(&mixed)?)
    }

    /// Heads `[L, Hk, dk]`, each of length 1, times `dk^½ · scale`. Written as mlx-lm has it: a norm by the mean.
    fn normalised(&self, heads: &Array, scale: f32) -> Result<Array, Exception> {
        let eps = NORM_EPS / self.sizes.key_width as f32;
        multiply(rms_norm(heads, None, eps)?, array!(scale).as_dtype(heads.dtype())?)
    }
}
