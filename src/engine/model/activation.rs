//! SwiGLU (Shazeer 2020): by MLX, or on the CPU path by our own kernel, because MLX's exponential is scalar on a CPU and on one
//! core.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::{multiply, sigmoid};

use super::cpu;

/// `silu(gate) · up` of the parts `[gate, up]` that [`by_rows`](super::cpu::cores::by_rows) returns, joined: `[n, R / n, F]`. By
/// our kernel; waits until it is computed.
pub(super) fn cpu_swiglu(parts: &[[Array; 2]]) -> Result<Array, Exception> {
    let mut shape = parts[0][0].shape().to_vec();
    if let [_, _, ..] = parts {
        shape[1] = parts.iter().map(|[gate, _]| gate.dim(1)).sum();
    }
    let rows = cpu::in_rows(parts.iter().flatten())?;
    let numbers = rows.iter().map(cpu::numbers).collect::<Result<Vec<_>, _>>()?;
    let product = cpu::written(&shape, |mut out| {
        for part in numbers.chunks_exact(2) {
            let (now, later) = out.split_at_mut(part[0].len());
            anyclaude_kernels::swiglu(part[0], part[1], now);
            out = later;
        }
    });
    product.as_dtype(parts[0][0].dtype())
}

/// The same of two arrays by MLX, lazily: on the GPU path, and for experts, which have so few rows that waiting costs more than
/// the kernel saves. Written in plain operations, because mlx-rs's `silu` is a compiled function, which starts a C++ compiler on
/// a CPU.
pub(super) fn lazy_swiglu(gate: &Array, up: &Array) -> Result<Array, Exception> {
    multiply(multiply(gate, sigmoid(gate)?)?, up)
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
            let (ours, mlx) = (cpu_swiglu(&parts).unwrap(), lazy_swiglu(&gate, &up).unwrap());
            let difference = largest(&subtract(&ours, mlx).unwrap());
            assert!(ours.shape() == shape && difference < 1e-5, "{shape:?}: differ by {difference}");
        }
    }
}
