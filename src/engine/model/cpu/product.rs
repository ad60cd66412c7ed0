//! Products of few rows with a matrix on the CPU, by our own kernel: OpenBLAS, which MLX uses, would copy the whole matrix into
//! another layout each time.

use mlx_rs::error::Exception;
use mlx_rs::{Array, Dtype};

use super::{MAX_ROW_EXACT, in_rows, numbers, written};

/// Smallest matrix, in weights: for smaller ones, waiting for the input costs more than the kernel saves.
pub(super) const MIN_WEIGHTS: usize = 1 << 14;

/// `x · weightᵀ`, `[n, R / n, input]` to `[n, R / n, output]`; waits until it is computed. Row-exact: no row's bits depend on
/// the other rows. `None` if MLX should compute it: many rows, a small matrix, or another precision.
pub(crate) fn cpu_product(x: &Array, weight: &Array) -> Result<Option<Array>, Exception> {
    let is_f32 = x.dtype() == Dtype::Float32 && weight.dtype() == Dtype::Float32;
    if x.dim(1) > MAX_ROW_EXACT as i32 || weight.size() < MIN_WEIGHTS || !is_f32 {
        return Ok(None);
    }
    let in_memory = in_rows([x, weight])?;
    let (rows, matrix) = (numbers(&in_memory[0])?, numbers(&in_memory[1])?);
    let (width, outputs) = (weight.dim(1), weight.dim(0));
    let product = |out: &mut [f32]| anyclaude_kernels::product(rows, matrix, width as usize, out);
    Ok(Some(written(&[x.dim(0), x.dim(1), outputs], product)))
}

#[cfg(test)]
mod tests {
    use mlx_rs::ops::indexing::TryIndexOp;
    use mlx_rs::ops::{expand_dims, matmul, subtract, swap_axes};

    use super::*;
    use crate::engine::testing::{largest, normal};

    #[test]
    fn the_kernel_gives_what_mlx_gives_and_a_row_the_same_alone() {
        let (x, weight) = (normal(&[2, 4, 512], 1), normal(&[1030, 512], 2));
        let ours = cpu_product(&x, &weight).unwrap().unwrap();
        let mlx = matmul(&x, swap_axes(expand_dims(&weight, 0).unwrap(), -1, -2).unwrap()).unwrap();
        assert_eq!(ours.shape(), mlx.shape());
        assert!(largest(&subtract(&ours, &mlx).unwrap()) < 1e-3);
        let alone = cpu_product(&x.try_index((1..2, 2..3, ..)).unwrap(), &weight).unwrap().unwrap();
        assert!(alone.as_slice::<f32>() == &ours.as_slice::<f32>()[6 * 1030..7 * 1030]);
    }

    #[test]
    fn many_rows_and_small_matrices_are_left_to_mlx() {
        for (rows, outputs) in [(MAX_ROW_EXACT as i32 + 1, 1030), (4, 30)] {
            assert!(cpu_product(&normal(&[1, rows, 512], 1), &normal(&[outputs, 512], 2)).unwrap().is_none());
        }
    }
}
