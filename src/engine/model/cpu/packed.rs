//! Packed matrices on the CPU: multiplied as they are where rows are few, unpacked for the time of a product where they are many.

use std::sync::Arc;

use anyclaude_kernels::{MlxPacked, PackedMatrix, packed_product};
use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::transforms::eval;

use super::product::MIN_WEIGHTS;
use super::{in_rows, numbers, written};
use crate::engine::model::quantization::Packing;

/// Most rows that the kernel multiplies. With more, OpenBLAS makes up for the time that unpacking takes.
const MAX_ROWS: i32 = 64;

/// A packed matrix, or a stack of them.
#[derive(Clone)]
pub(crate) struct CpuPacked(Vec<Arc<PackedMatrix>>);

impl CpuPacked {
    /// Whether matrices of so many weights each are kept packed: small ones are not worth it, and the kernel does not know all
    /// numbers of bits.
    pub(crate) fn takes(packing: Packing, weights: usize) -> bool {
        PackedMatrix::takes(packing.bits) && weights >= MIN_WEIGHTS
    }

    /// Brings MLX's words `[.., output, input · bits / 32]`, scales and biases `[.., output, input / group_size]` into the
    /// kernel's order.
    pub(crate) fn new(words: &Array, scales: &Array, biases: &Array, packing: Packing) -> Result<Self, Exception> {
        let words = words.contiguous()?;
        eval([&words])?;
        let words: &[u32] = words.try_as_slice().map_err(|e| Exception::custom(e.to_string()))?;
        let in_memory = in_rows([scales, biases])?;
        let (all_scales, all_biases) = (numbers(&in_memory[0])?, numbers(&in_memory[1])?);
        let Packing { group_size, bits } = packing;
        let count = if scales.ndim() > 2 { scales.dim(0) as usize } else { 1 };
        let (words_each, groups_each) = (words.len() / count, all_scales.len() / count);
        let width = scales.dim(-1) as usize * group_size;
        let matrix = |at: usize| {
            let groups = at * groups_each..(at + 1) * groups_each;
            let words = &words[at * words_each..][..words_each];
            let (scales, biases) = (&all_scales[groups.clone()], &all_biases[groups]);
            Arc::new(PackedMatrix::new(&MlxPacked { bits, group_size, words, scales, biases }, width))
        };
        Ok(Self((0..count).map(matrix).collect()))
    }

    /// Whether the rows of `[n, R / n, input]` are few enough for the kernel.
    pub(crate) fn multiplies(x: &Array) -> bool {
        x.dim(0) * x.dim(1) <= MAX_ROWS
    }

    /// `x · matrixᵀ`, `[n, R / n, input]` to `[n, R / n, output]`; waits until it is computed. Row-exact. `None` for many rows:
    /// see [`Self::unpacked`].
    pub(crate) fn product(&self, x: &Array) -> Result<Option<Array>, Exception> {
        if !Self::multiplies(x) {
            return Ok(None);
        }
        let (matrix, in_memory) = (self.one()?, in_rows([x])?);
        let rows = numbers(&in_memory[0])?;
        let shape = [x.dim(0), x.dim(1), matrix.outputs() as i32];
        Ok(Some(written(&shape, |out| packed_product(rows, matrix, out))))
    }

    /// The weights as f32, `[output, input]`.
    pub(crate) fn unpacked(&self) -> Result<Array, Exception> {
        let matrix = self.one()?;
        let mut weights = vec![0.0; matrix.outputs() * matrix.width()];
        matrix.unpack(&mut weights);
        Ok(Array::from_slice(&weights, &[matrix.outputs() as i32, matrix.width() as i32]))
    }

    /// Products of single rows, `[.., 1, input]`, each with the matrix of the stack that `indices` name: `[indices.., 1, output]`.
    /// A row goes to as many consecutive indices as there are for each row. Waits until they are computed.
    pub(crate) fn picked(&self, x: &Array, indices: &Array) -> Result<Array, Exception> {
        let picks: Vec<u32> = indices.to_vec_exact().map_err(|e| Exception::custom(e.to_string()))?;
        let in_memory = in_rows([x])?;
        let rows = numbers(&in_memory[0])?;
        let (width, outputs) = (self.first()?.width(), self.first()?.outputs());
        let each = picks.len() * width / rows.len();
        let shape = [indices.shape(), &[1, outputs as i32]].concat();
        Ok(written(&shape, |out| {
            for (at, (pick, out)) in picks.iter().zip(out.chunks_exact_mut(outputs)).enumerate() {
                packed_product(&rows[at / each * width..][..width], &self.0[*pick as usize], out);
            }
        }))
    }

    /// Matrix number `n` of a stack.
    pub(crate) fn nth(&self, n: i32) -> Self {
        Self(vec![self.0[n as usize].clone()])
    }

    /// Looks up rows, as an embedding does: `ids` of any shape `[..]` to `[.., input]`.
    pub(crate) fn rows(&self, ids: &Array) -> Result<Array, Exception> {
        let matrix = self.one()?;
        let picks: Vec<u32> = ids.to_vec_exact().map_err(|e| Exception::custom(e.to_string()))?;
        let shape = [ids.shape(), &[matrix.width() as i32]].concat();
        Ok(written(&shape, |out| {
            picks.iter().zip(out.chunks_exact_mut(matrix.width())).for_each(|(id, row)| matrix.unpack_row(*id as usize, row));
        }))
    }

    /// The matrix, where it is no stack.
    fn one(&self) -> Result<&PackedMatrix, Exception> {
        match &self.0[..] {
            [matrix] => Ok(matrix),
            _ => Err(Exception::custom("one matrix of a stack must be picked")),
        }
    }

    fn first(&self) -> Result<&PackedMatrix, Exception> {
        self.0.first().map(Arc::as_ref).ok_or_else(|| Exception::custom("the stack is empty"))
    }
}

#[cfg(test)]
mod tests {
    use mlx_rs::ops::indexing::TryIndexOp;
    use mlx_rs::ops::{dequantize, expand_dims, matmul, quantize, subtract, swap_axes};

    use super::*;
    use crate::engine::testing::{largest, normal};

    const PACKING: Packing = Packing { group_size: 64, bits: 4 };

    /// A stack of packed matrices, and the weights that MLX reads in it, `[3, 130, 256]`.
    fn stack() -> (CpuPacked, Array) {
        let (words, scales, biases) = quantize(normal(&[3, 130, 256], 1), 64, 4).unwrap();
        let packed = CpuPacked::new(&words, &scales, &biases, PACKING).unwrap();
        (packed, dequantize(&words, &scales, &biases, 64, 4).unwrap())
    }

    #[test]
    fn products_rows_and_weights_are_mlxs() {
        let (stack, weights) = stack();
        let (packed, weights) = (stack.nth(1), weights.try_index((1, .., ..)).unwrap());
        assert_eq!(largest(&subtract(packed.unpacked().unwrap(), &weights).unwrap()), 0.0);
        let x = normal(&[5, 2, 256], 2);
        let ours = packed.product(&x).unwrap().unwrap();
        let mlx = matmul(&x, swap_axes(expand_dims(&weights, 0).unwrap(), -1, -2).unwrap()).unwrap();
        assert_eq!(ours.shape(), mlx.shape());
        assert!(largest(&subtract(&ours, &mlx).unwrap()) < 1e-3);
        let ids = Array::from_slice(&[7u32, 0, 129], &[1, 3]);
        let rows = packed.rows(&ids).unwrap();
        assert_eq!(largest(&subtract(rows, weights.take_axis(&ids, 0).unwrap()).unwrap()), 0.0);
        assert!(packed.product(&normal(&[1, MAX_ROWS + 1, 256], 3)).unwrap().is_none());
        assert!(stack.product(&x).is_err() && stack.unpacked().is_err());
    }

    #[test]
    fn picked_products_are_those_of_the_picked_matrices() {
        let (stack, _) = stack();
        let picks = Array::from_slice(&[2u32, 0, 1, 1], &[2, 2]);
        // One row for each token, or one for each choice.
        for x in [normal(&[2, 1, 1, 256], 4), normal(&[2, 2, 1, 256], 5)] {
            let ours = stack.picked(&x, &picks).unwrap();
            assert_eq!(ours.shape(), [2, 2, 1, 130]);
            for (at, pick) in [2, 0, 1, 1].into_iter().enumerate() {
                let row =
                    x.reshape(&[-1, 256]).unwrap().try_index(if x.dim(1) == 1 { at as i32 / 2 } else { at as i32 }).unwrap();
                let alone = stack.nth(pick).product(&row.reshape(&[1, 1, 256]).unwrap()).unwrap().unwrap();
                assert!(alone.as_slice::<f32>() == &ours.as_slice::<f32>()[at * 130..][..130]);
            }
        }
    }
}
