//! The CPU, where kernels of our own take over: whether MLX computes there, and its arrays as slices of memory.

use std::cell::RefCell;

use mlx_rs::error::Exception;
use mlx_rs::transforms::eval;
use mlx_rs::{Array, Device, DeviceType, Dtype};

thread_local! {
    /// Where kernels write: memory that was written before, which the system need not clear.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Whether arrays are computed on the CPU.
pub fn is_default() -> Result<bool, Exception> {
    Ok(matches!(Device::try_default()?.get_type()?, DeviceType::Cpu))
}

/// Arrays as `f32`, row after row, computed. What is that already is not copied.
pub fn in_rows<'a>(arrays: impl IntoIterator<Item = &'a Array>) -> Result<Vec<Array>, Exception> {
    let arrays: Vec<&Array> = arrays.into_iter().collect();
    eval(arrays.iter().copied())?;
    let row_after_row = |array: &&Array| match numbers(array) {
        Ok(_) => Ok((*array).clone()),
        Err(_) => array.as_dtype(Dtype::Float32)?.contiguous(),
    };
    let rows = arrays.iter().map(row_after_row).collect::<Result<Vec<_>, Exception>>()?;
    eval(&rows)?;
    Ok(rows)
}

/// The numbers of an array that is [`in_rows`]. An error where it is not.
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
    use mlx_rs::ops::add;

    use super::*;

    #[test]
    fn rows_are_as_they_look_and_what_is_in_rows_stays() {
        let whole = Array::from_slice(&[1.0f32, 2.0, 3.0, 4.0], &[2, 2]);
        let halves = whole.as_dtype(Dtype::Bfloat16).unwrap();
        let rows = in_rows([&whole, &whole.transpose().unwrap(), &add(&halves, &halves).unwrap()]).unwrap();
        let wanted: [&[f32]; 3] = [&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0], &[2.0, 4.0, 6.0, 8.0]];
        assert!(rows.iter().zip(wanted).all(|(rows, wanted)| numbers(rows).unwrap() == wanted));
        assert_eq!(numbers(&rows[0]).unwrap().as_ptr(), numbers(&whole).unwrap().as_ptr());
    }

    #[test]
    fn what_was_written_before_is_not_seen() {
        for numbers in [&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..], &[7.0, 8.0]] {
            let array = written(&[2, numbers.len() as i32 / 2], |out| out.copy_from_slice(numbers));
            assert_eq!((array.as_slice::<f32>(), array.dim(0)), (numbers, 2));
        }
    }
}
