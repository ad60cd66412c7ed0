//! A weight matrix, plain or quantized, and its operations: products, row lookup, picking one of a stack.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::ops::{dequantize, expand_dims, gather_mm, gather_qmm, matmul, quantized_matmul, swap_axes};

use super::cpu::cores::by_outputs;
use super::cpu::packed::CpuPacked;
use super::cpu::product::cpu_product;
use super::quantization::Packing;

/// A matrix `[output, input]`, or a stack of them, `[n, output, input]`.
#[derive(Clone)]
pub(super) enum Matrix {
    /// Multiplied on the CPU path: by our kernel, or by OpenBLAS on all cores.
    OnCpu(Array),
    /// The same with packed weights.
    PackedOnCpu(CpuPacked),
    /// Multiplied by MLX's operations, in its own precision.
    Plain(Array),
    /// The same for a quantized one.
    Packed(Packed),
}

/// A matrix quantized by MLX's affine scheme: see [`Packing`].
#[derive(Clone)]
pub(super) struct Packed {
    /// The weights' numbers in 32-bit words: `[.., output, input * bits / 32]`.
    pub words: Array,
    /// `[.., output, input / group_size]`.
    pub scales: Array,
    /// `[.., output, input / group_size]`.
    pub biases: Array,
    pub packing: Packing,
}

impl Matrix {
    /// `x · matrixᵀ`: `[n, R / n, input]` to `[n, R / n, output]`; on the CPU path as `n` products.
    pub(super) fn apply(&self, x: &Array) -> Result<Array, Exception> {
        match self {
            Self::OnCpu(weight) => {
                if let Some(product) = cpu_product(x, weight)? {
                    return Ok(product);
                }
                // Three axes keep the `n` products apart: with two, MLX would join them into one.
                let product = |weight: &Array| matmul(x, swap_axes(expand_dims(weight, 0)?, -1, -2)?);
                by_outputs(weight, product)
            }
            Self::PackedOnCpu(packed) => match packed.product(x)? {
                Some(product) => Ok(product),
                None => Self::OnCpu(packed.unpacked()?).apply(x),
            },
            Self::Plain(weight) => matmul(x, weight.transpose()?),
            Self::Packed(Packed { words, scales, biases, packing }) => {
                quantized_matmul(x, words, scales, biases, true, packing.group_size as i32, packing.bits as i32)
            }
        }
    }

    /// Products with each matrix of a stack `[heads, output, input]`: `[n, heads, rows, input]` to `[n, heads, rows, output]`.
    pub(super) fn apply_to_heads(&self, x: &Array) -> Result<Array, Exception> {
        match self {
            Self::OnCpu(stack) | Self::Plain(stack) => matmul(x, swap_axes(stack, -1, -2)?),
            Self::PackedOnCpu(stack) => Self::OnCpu(stack.unpacked()?).apply_to_heads(x),
            Self::Packed(_) => self.apply(x),
        }
    }

    /// The matrix for products with `x` whose rows are split among the cores: one that would be unpacked for each of the parts is
    /// unpacked once for all.
    pub(super) fn for_parts_of(&self, x: &Array) -> Result<Self, Exception> {
        match self {
            Self::PackedOnCpu(packed) if !CpuPacked::multiplies(x) => Ok(Self::OnCpu(packed.unpacked()?)),
            other => Ok(other.clone()),
        }
    }

    /// Products of single rows `[1, input]` of `x` with the matrix of the stack that `indices` name, to `[1, output]`.
    ///
    /// `sorted`: equal indices are neighbours, so that each matrix is read once.
    pub(super) fn apply_picked(&self, x: &Array, indices: &Array, sorted: bool) -> Result<Array, Exception> {
        match self {
            Self::PackedOnCpu(stack) => stack.picked(x, indices),
            Self::OnCpu(stack) | Self::Plain(stack) => gather_mm(x, swap_axes(stack, -1, -2)?, None, indices, sorted),
            Self::Packed(Packed { words, scales, biases, packing }) => {
                let (group_size, bits) = (packing.group_size as i32, packing.bits as i32);
                gather_qmm(x, words, scales, biases, None, indices, true, group_size, bits, sorted)
            }
        }
    }

    /// Matrix number `n` of a stack, as a view.
    pub(super) fn nth(&self, n: i32) -> Result<Self, Exception> {
        let of = |stack: &Array| stack.try_index((n, .., ..));
        Ok(match self {
            Self::OnCpu(stack) => Self::OnCpu(of(stack)?),
            Self::PackedOnCpu(stack) => Self::PackedOnCpu(stack.nth(n)),
            Self::Plain(stack) => Self::Plain(of(stack)?),
            Self::Packed(Packed { words, scales, biases, packing }) => {
                Self::Packed(Packed { words: of(words)?, scales: of(scales)?, biases: of(biases)?, packing: *packing })
            }
        })
    }

    /// Looks up rows, as an embedding does: `ids` of any shape `[..]` to `[.., input]`.
    pub(super) fn rows(&self, ids: &Array) -> Result<Array, Exception> {
        match self {
            Self::OnCpu(weight) | Self::Plain(weight) => weight.take_axis(ids, 0),
            Self::PackedOnCpu(packed) => packed.rows(ids),
            Self::Packed(packed) => Packed {
                words: packed.words.take_axis(ids, 0)?,
                scales: packed.scales.take_axis(ids, 0)?,
                biases: packed.biases.take_axis(ids, 0)?,
                packing: packed.packing,
            }
            .unpack(),
        }
    }

    /// Its arrays, for evaluation.
    pub(super) fn arrays(&self) -> Vec<&Array> {
        match self {
            Self::OnCpu(weight) | Self::Plain(weight) => vec![weight],
            Self::PackedOnCpu(_) => vec![],
            Self::Packed(Packed { words, scales, biases, .. }) => vec![words, scales, biases],
        }
    }
}

impl Packed {
    /// The plain matrix, in the scales' precision.
    pub(super) fn unpack(&self) -> Result<Array, Exception> {
        let Packing { group_size, bits } = self.packing;
        dequantize(&self.words, &self.scales, &self.biases, group_size as i32, bits as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlx_rs::ops::quantize;
    use mlx_rs::random;

    fn assert_equal(a: &Array, b: &Array) {
        assert_eq!(a.shape(), b.shape());
        let difference: f32 = a.subtract(b).unwrap().abs().unwrap().max(false).unwrap().item_exact();
        assert!(difference < 1e-4, "differ by {difference}");
    }

    #[test]
    fn packed_matrices_give_what_unpacked_ones_give() {
        let random = |shape: &[i32], seed| random::normal::<f32>(shape, 0.0, 1.0, &random::key(seed).unwrap()).unwrap();
        for (group_size, bits) in [(32, 2), (64, 3), (64, 4), (128, 6), (32, 8)] {
            let weight = random(&[3, 8, 128], bits as u64);
            let (words, scales, biases) = quantize(&weight, group_size as i32, bits as i32).unwrap();
            let packed = |i: Option<i32>| {
                let pick = |a: &Array| i.map_or(a.clone(), |i| a.take_axis(Array::from_int(i), 0).unwrap());
                let packing = Packing { group_size, bits };
                Packed { words: pick(&words), scales: pick(&scales), biases: pick(&biases), packing }
            };
            let (one, stack) = (packed(Some(1)), packed(None));
            let (plain, plain_stack) = (Matrix::Plain(one.unpack().unwrap()), Matrix::Plain(stack.unpack().unwrap()));
            let (one, stack) = (Matrix::Packed(one), Matrix::Packed(stack));

            let x = random(&[2, 1, 128], 9);
            assert_equal(&one.apply(&x).unwrap(), &plain.apply(&x).unwrap());
            let ids = Array::from_slice(&[7u32, 0, 3], &[1, 3]);
            assert_equal(&one.rows(&ids).unwrap(), &plain.rows(&ids).unwrap());
            let indices = Array::from_slice(&[0u32, 2], &[2]);
            let picked = stack.apply_picked(&x, &indices, true).unwrap();
            assert_equal(&picked, &plain_stack.apply_picked(&x, &indices, true).unwrap());
        }
    }
}
