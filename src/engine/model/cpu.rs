//! The CPU, where kernels of our own take over: whether MLX computes there, and its arrays as slices of memory.

use std::cell::RefCell;

use mlx_rs::error::Exception;
use mlx_rs::{Array, Device, DeviceType, Dtype};

thread_local! {
    /// Where kernels write: memory that was written before, which the system need not clear.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Whether arrays are computed on the CPU.
pub fn is_default() -> Result<bool, Exception> {
    Ok(matches!(Device::try_default()?.get_type()?, DeviceType::Cpu))
}

/// As `f32`, row after row. What is that already is not copied.
pub fn in_rows(array: &Array) -> Result<Array, Exception> {
    array.as_dtype(Dtype::Float32)?.contiguous()
}

/// The numbers of an array [`in_rows`]. An error where it is not computed yet, or not `f32`.
pub fn numbers(array: &Array) -> Result<&[f32], Exception> {
    array.try_as_slice().map_err(|e| Exception::custom(e.to_string()))
}

/// An array of this shape with the numbers that a kernel writes. All of them: they are not zero before.
pub fn written(shape: &[i32], kernel: impl FnOnce(&mut [f32])) -> Array {
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
    use super::*;

    #[test]
    fn what_was_written_before_is_not_seen() {
        for numbers in [&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..], &[7.0, 8.0]] {
            let array = written(&[2, numbers.len() as i32 / 2], |out| out.copy_from_slice(numbers));
            assert_eq!((array.as_slice::<f32>(), array.dim(0)), (numbers, 2));
        }
    }
}
