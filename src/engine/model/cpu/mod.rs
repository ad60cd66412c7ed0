//! The bridge to our CPU kernels: MLX's arrays as slices.
//!
//! `attention`, `product` and `packed` call a kernel each, and `cores` splits MLX's own operations among the cores.

pub(super) mod attention;
pub(super) mod cores;
pub(super) mod packed;
pub(super) mod product;

use std::cell::RefCell;

use mlx_rs::error::Exception;
use mlx_rs::transforms::eval;
use mlx_rs::{Array, Dtype};

/// Most new tokens per sequence for which a pass on the CPU path is row-exact: every row gets the bits that it would get alone.
pub(crate) const MAX_ROW_EXACT: usize = 16;

thread_local! {
    /// The kernels' output buffer, reused: the system clears fresh memory page by page, which takes longer.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Arrays as evaluated, contiguous `f32`. An array that is so already is not copied.
pub(super) fn in_rows<'a>(arrays: impl IntoIterator<Item = &'a Array>) -> Result<Vec<Array>, Exception> {
    let arrays: Vec<&Array> = arrays.into_iter().collect();
    eval(arrays.iter().copied())?;
    let contiguous = |array: &&Array| match numbers(array) {
        Ok(_) => Ok((*array).clone()),
        Err(_) => array.as_dtype(Dtype::Float32)?.contiguous(),
    };
    let rows = arrays.iter().map(contiguous).collect::<Result<Vec<_>, Exception>>()?;
    eval(&rows)?;
    Ok(rows)
}

/// The numbers of an array from [`in_rows`]; an error for others.
pub(super) fn numbers(array: &Array) -> Result<&[f32], Exception> {
    array.try_as_slice().map_err(|e| Exception::custom(e.to_string()))
}

/// An array of the given shape that a kernel fills. It must write every number: the buffer holds those of earlier calls.
pub(super) fn written(shape: &[i32], kernel: impl FnOnce(&mut [f32])) -> Array {
    let length = shape.iter().product::<i32>() as usize;
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < length {
            scratch.resize(length, 0.0);
        }
        kernel(&mut scratch[..length]);
        Array::from_slice(&scratch[..length], shape)
    })
}

#[cfg(test)]
mod tests {
    use mlx_rs::ops::add;

    use super::*;

    #[test]
    fn rows_are_contiguous_f32_and_copied_only_if_they_were_not() {
        let whole = Array::from_slice(&[1.0f32, 2.0, 3.0, 4.0], &[2, 2]);
        let halves = whole.as_dtype(Dtype::Bfloat16).unwrap();
        let rows = in_rows([&whole, &whole.transpose().unwrap(), &add(&halves, &halves).unwrap()]).unwrap();
        let wanted: [&[f32]; 3] = [&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0], &[2.0, 4.0, 6.0, 8.0]];
        assert!(rows.iter().zip(wanted).all(|(rows, wanted)| numbers(rows).unwrap() == wanted));
        assert_eq!(numbers(&rows[0]).unwrap().as_ptr(), numbers(&whole).unwrap().as_ptr());
    }

    #[test]
    fn a_reused_buffer_shows_no_earlier_numbers() {
        for numbers in [&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..], &[7.0, 8.0]] {
            let array = written(&[2, numbers.len() as i32 / 2], |out| out.copy_from_slice(numbers));
            assert_eq!((array.as_slice::<f32>(), array.dim(0)), (numbers, 2));
        }
    }
}
