//! The gated activations of MLPs, SwiGLU and GeGLU (Shazeer 2020), and gpt-oss's form of the first: by MLX, or on the CPU path by our
//! own kernel, because MLX's exponential is scalar on a CPU and on one core.

use mlx_rs::error::Exception;
use mlx_rs::ops::{add, clip, minimum, multiply, power, sigmoid, tanh};
use mlx_rs::{Array, array};

use super::cpu;

/// What an MLP makes of its gates and ups.
#[derive(Clone, Copy)]
pub(super) enum GatedActivation {
    /// `silu(gate) · up`.
    SwiGlu,
    /// `gelu(gate) · up`, with GELU by tanh (Gemma).
    GeGlu,
}

impl GatedActivation {
    /// Of the parts `[gate, up]` that [`by_rows`](super::cpu::cores::by_rows) returns, joined: `[n, R / n, F]`. By our kernel; waits
    /// until it is computed.
    pub(super) fn on_cpu(self, parts: &[[Array; 2]]) -> Result<Array, Exception> {
        match self {
            Self::SwiGlu => by_kernel(anyclaude_kernels::swiglu, parts),
            Self::GeGlu => by_kernel(anyclaude_kernels::geglu, parts),
        }
    }

    /// The same of two arrays by MLX, lazily: on the GPU path, and for experts, which have so few rows that waiting costs more than
    /// the kernel saves.
    pub(super) fn lazy(self, gate: &Array, up: &Array) -> Result<Array, Exception> {
        match self {
            Self::SwiGlu => lazy_swiglu(gate, up),
            Self::GeGlu => lazy_geglu(gate, up),
        }
    }
}

fn by_kernel(kernel: fn(&[f32], &[f32], &mut [f32]), parts: &[[Array; 2]]) -> Result<Array, Exception> {
    let mut shape = parts[0][0].shape().to_vec();
    if let [_, _, ..] = parts {
        shape[1] = parts.iter().map(|[gate, _]| gate.dim(1)).sum();
    }
    let rows = cpu::in_rows(parts.iter().flatten())?;
    let numbers = rows.iter().map(cpu::numbers).collect::<Result<Vec<_>, _>>()?;
    let product = cpu::written(&shape, |mut out| {
        for part in numbers.chunks_exact(2) {
            let (now, later) = out.split_at_mut(part[0].len());
            kernel(part[0], part[1], now);
            out = later;
        }
    });
    product.as_dtype(parts[0][0].dtype())
}

/// SwiGLU by MLX. Written in plain operations, because mlx-rs's `silu` is a compiled function, which starts a C++ compiler on a CPU.
pub(super) fn lazy_swiglu(gate: &Array, up: &Array) -> Result<Array, Exception> {
    multiply(multiply(gate, sigmoid(gate)?)?, up)
}

/// The same of GeGLU.
pub(super) fn lazy_geglu(gate: &Array, up: &Array) -> Result<Array, Exception> {
    multiply(lazy_gelu(gate)?, up)
}

/// `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))`, lazily: GELU by tanh (Hendrycks and Gimpel 2016). Rounds in half precision
/// where mlx-lm does.
pub(super) fn lazy_gelu(x: &Array) -> Result<Array, Exception> {
    let number = |number: f32| array!(number).as_dtype(x.dtype());
    let cubic = multiply(number(0.044715)?, power(x, number(3.0)?)?)?;
    let inner = multiply(number((2.0 / std::f32::consts::PI).sqrt())?, add(x, cubic)?)?;
    multiply(multiply(number(0.5)?, x)?, add(number(1.0)?, tanh(inner)?)?)
}

/// gpt-oss's form of SwiGLU, lazily: `gate · sigmoid(1.702 · gate) · (up + 1)`, where nothing is above 7, and `up` not below -7.
pub(super) fn lazy_clamped_swiglu(gate: &Array, up: &Array) -> Result<Array, Exception> {
    let number = |number: f32| array!(number).as_dtype(gate.dtype());
    let limit = number(7.0)?;
    let (gate, up) = (minimum(gate, &limit)?, clip(up, (&number(-7.0)?, &limit))?);
    let share = sigmoid(multiply(number(1.702)?, &gate)?)?;
    multiply(add(up, number(1.0)?)?, multiply(gate, share)?)
}

#[cfg(test)]
mod tests {
    use mlx_rs::ops::subtract;

    use super::*;
    use crate::engine::testing::{largest, normal};

    #[test]
    fn the_kernel_gives_what_mlx_gives() {
        for (shape, cuts) in [(&[1, 1, 5][..], &[][..]), (&[2, 300, 64], &[]), (&[1, 300, 64], &[100, 117])] {
            let (gate, up) = (multiply(normal(shape, 1), Array::from_f32(8.0)).unwrap(), normal(shape, 2));
            let cut = |array: &Array| array.split_at_indices(cuts, 1).unwrap();
            let parts: Vec<_> = cut(&gate).into_iter().zip(cut(&up)).map(|(gate, up)| [gate, up]).collect();
            for activation in [GatedActivation::SwiGlu, GatedActivation::GeGlu] {
                let (ours, mlx) = (activation.on_cpu(&parts).unwrap(), activation.lazy(&gate, &up).unwrap());
                let difference = largest(&subtract(&ours, mlx).unwrap());
                assert!(ours.shape() == shape && difference < 2e-5, "{shape:?}: differ by {difference}");
            }
        }
    }

    #[test]
    fn gpt_oss_limits_what_it_multiplies() {
        let numbers = |numbers: [f32; 4]| Array::from_slice(&numbers, &[4]);
        let found = lazy_clamped_swiglu(&numbers([1.0, 9.0, -9.0, 7.0]), &numbers([2.0, 9.0, -9.0, -7.5])).unwrap();
        let share = |gate: f32| gate / (1.0 + (-1.702 * gate).exp());
        let wanted = [share(1.0) * 3.0, share(7.0) * 8.0, share(-9.0) * -6.0, share(7.0) * -6.0];
        assert!(largest(&subtract(&found, numbers(wanted)).unwrap()) < 1e-5, "{found:?}");
    }
}
