//! The product of few rows with a large matrix, which takes as long as reading the matrix once.
//!
//! BLAS libraries first copy the matrix into another layout. That pays off with many rows; with few it is most of their time.

use std::array::from_fn;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Outputs computed together: with more, the sums of a tile would not fit into the registers.
const TILE_OUTPUTS: usize = 4;

/// Rows computed together.
const TILE_ROWS: usize = 4;

/// Weights that one core takes at a time.
const TASK_WEIGHTS: usize = 128 * 1024;

/// Writes `rows · matrixᵀ`: rows `[rows, width]`, matrix `[outputs, width]`, out `[rows, outputs]`.
///
/// No result's bits depend on the other rows, on the number of outputs or on the number of cores: every dot product is summed up
/// in the same order.
///
/// # Panics
///
/// If the width is 0 or a length does not fit.
pub fn product(rows: &[f32], matrix: &[f32], width: usize, out: &mut [f32]) {
    product_on(Arch::new(), rows, matrix, width, out);
}

fn product_on(arch: Arch, rows: &[f32], matrix: &[f32], width: usize, out: &mut [f32]) {
    assert!(width > 0, "rows need a width");
    let outputs = matrix.len() / width;
    assert!(rows.len().is_multiple_of(width) && outputs * width == matrix.len(), "rows and matrix must have the width");
    assert_eq!(out.len(), rows.len() / width * outputs, "each row needs its outputs");
    if out.is_empty() {
        return;
    }
    let share = (TASK_WEIGHTS / width).max(1).next_multiple_of(TILE_OUTPUTS);
    let matrices = matrix.chunks(share * width);
    let mut tasks: Vec<ProductTask> = matrices.map(|matrix| ProductTask { rows, matrix, width, out: Vec::new() }).collect();
    for row in out.chunks_exact_mut(outputs) {
        for (task, out) in tasks.iter_mut().zip(row.chunks_mut(share)) {
            task.out.push(out);
        }
    }
    tasks.into_par_iter().with_max_len(1).for_each(|task| arch.dispatch(task));
}

/// The products of all rows with some of the matrix.
struct ProductTask<'a> {
    rows: &'a [f32],
    /// `[some outputs, width]`.
    matrix: &'a [f32],
    width: usize,
    /// For each row, the task's outputs.
    out: Vec<&'a mut [f32]>,
}

impl WithSimd for ProductTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for (x, weights) in self.matrix.chunks(TILE_OUTPUTS * self.width).enumerate() {
            for (y, rows) in self.rows.chunks(TILE_ROWS * self.width).enumerate() {
                let first = (y * TILE_ROWS, x * TILE_OUTPUTS);
                match (rows.len() == TILE_ROWS * self.width, weights.len() == TILE_OUTPUTS * self.width) {
                    (true, true) => self.tiles::<S, TILE_ROWS, TILE_OUTPUTS>(simd, rows, weights, first),
                    (false, true) => self.tiles::<S, 1, TILE_OUTPUTS>(simd, rows, weights, first),
                    (true, false) => self.tiles::<S, TILE_ROWS, 1>(simd, rows, weights, first),
                    (false, false) => self.tiles::<S, 1, 1>(simd, rows, weights, first),
                }
            }
        }
    }
}

impl ProductTask<'_> {
    /// The products of these rows with these weights, in tiles of `R` rows and `O` outputs. `row` and `output` number the first
    /// of each.
    #[inline(always)]
    fn tiles<S: Simd, const R: usize, const O: usize>(
        &mut self,
        simd: S,
        rows: &[f32],
        weights: &[f32],
        (row, output): (usize, usize),
    ) {
        for (y, rows) in rows.chunks_exact(R * self.width).enumerate() {
            for (x, weights) in weights.chunks_exact(O * self.width).enumerate() {
                self.tile::<S, R, O>(simd, rows, weights, (row + y * R, output + x * O));
            }
        }
    }

    /// One tile: each of its sums has a vector of its own, whose lanes are added up at the end.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const O: usize>(
        &mut self,
        simd: S,
        rows: &[f32],
        weights: &[f32],
        (row, output): (usize, usize),
    ) {
        let width = self.width;
        let rows: [_; R] = from_fn(|at| S::as_simd_f32s(&rows[at * width..][..width]));
        let weights: [_; O] = from_fn(|at| S::as_simd_f32s(&weights[at * width..][..width]));
        let mut sums = [[simd.splat_f32s(0.0); O]; R];
        // Indices instead of iterators: the compiler then sees that all slices are long enough, and checks no bounds inside.
        let vectors = rows[0].0.len();
        let (heads, tails) = (rows.map(|row| &row.0[..vectors]), rows.map(|row| simd.partial_load_f32s(row.1)));
        let (weights, last) = (weights.map(|row| &row.0[..vectors]), weights.map(|row| simd.partial_load_f32s(row.1)));
        for at in 0..vectors {
            for y in 0..R {
                for x in 0..O {
                    sums[y][x] = simd.mul_add_e_f32s(heads[y][at], weights[x][at], sums[y][x]);
                }
            }
        }
        for y in 0..R {
            for x in 0..O {
                let sum = simd.mul_add_e_f32s(tails[y], last[x], sums[y][x]);
                self.out[row + y][output + x] = simd.reduce_sum_f32s(sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{arches, small_numbers};

    fn all(arch: Arch, rows: &[f32], matrix: &[f32], width: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; rows.len() / width * (matrix.len() / width)];
        product_on(arch, rows, matrix, width, &mut out);
        out
    }

    #[test]
    fn products_are_those_of_the_formula() {
        for (rows, outputs, width) in [(1, 1, 1), (3, 9, 17), (4, 4, 64), (5, 1031, 300), (17, 2, 256)] {
            let (x, matrix) = (small_numbers(rows * width, 1), small_numbers(outputs * width, 2));
            for (at, ours) in arches().into_iter().flat_map(|arch| all(arch, &x, &matrix, width).into_iter().enumerate()) {
                let (row, weights) = (&x[at / outputs * width..], &matrix[at % outputs * width..]);
                let wanted: f64 = (0..width).map(|at| f64::from(row[at]) * f64::from(weights[at])).sum();
                assert!((f64::from(ours) - wanted).abs() < 1e-6 * width as f64, "{ours}, not {wanted}");
            }
        }
    }

    #[test]
    fn a_row_and_an_output_give_the_same_bits_alone() {
        let (width, outputs) = (300, 1031);
        let (x, matrix) = (small_numbers(7 * width, 3), small_numbers(outputs * width, 4));
        for arch in arches() {
            let together = all(arch, &x, &matrix, width);
            for row in 0..7 {
                let alone = all(arch, &x[row * width..][..width], &matrix, width);
                assert!(alone == together[row * outputs..][..outputs], "row {row}");
            }
            for output in [0, 3, 436, 1030] {
                let alone = all(arch, &x, &matrix[output * width..][..width], width);
                let wanted = together.iter().skip(output).step_by(outputs);
                assert!(alone.iter().eq(wanted), "output {output}");
            }
            assert!(all(arch, &[], &matrix, width).is_empty());
        }
    }
}
