//! Weights shipped in mxfp4 (gpt-oss), brought into MLX's affine packing without any loss: mlx-rs multiplies with no other. They take
//! 6 bits each instead of 4.25, on the CPU path 10.

use anyclaude_kernels::{MXFP4_GROUP, mxfp4_numbers, mxfp4_scale_and_bias};
use mlx_rs::error::Exception;
use mlx_rs::transforms::eval;
use mlx_rs::{Array, ArrayElement, Dtype};

use super::compute_path::ComputePath;
use super::matrix::Packed;
use super::quantization::Packing;

/// What a weight takes in a model's files, in bits, its share of the group's exponent included.
pub(in crate::engine) const MXFP4_SHIPPED_BITS: f64 = 4.25;

/// The packing that weights in mxfp4 get: on the CPU path one that our kernel knows.
pub(super) fn packing(path: ComputePath) -> Packing {
    let bits = match path {
        ComputePath::Cpu => 8,
        ComputePath::Gpu => 5,
    };
    Packing { group_size: MXFP4_GROUP, bits }
}

/// What a weight takes in memory, in bits, its share of scale and bias included: f32 on the CPU path, else bf16.
pub(in crate::engine) fn mxfp4_bits(path: ComputePath) -> usize {
    let numbers = match path {
        ComputePath::Cpu => 32,
        ComputePath::Gpu => 16,
    };
    packing(path).bits + 2 * numbers / MXFP4_GROUP
}

/// Codes `[.., output, input / 8]` and exponents `[.., output, input / 32]` as an affine matrix.
pub(super) fn as_affine(codes: &Array, exponents: &Array, path: ComputePath) -> Result<Packed, Exception> {
    let packing = packing(path);
    let (codes, exponents) = (codes.contiguous()?, exponents.contiguous()?);
    eval([&codes, &exponents])?;
    let numbers = mxfp4_numbers(in_memory(&codes)?, packing.bits);
    let (scales, biases): (Vec<f32>, Vec<f32>) = in_memory(&exponents)?.iter().map(|it| mxfp4_scale_and_bias(*it)).unzip();
    let mut words = codes.shape().to_vec();
    if let Some(last) = words.last_mut() {
        *last = *last * packing.bits as i32 / 4;
    }
    // Powers of two and their multiples by six lose nothing in bf16.
    let of_groups = |numbers: &[f32]| Array::from_slice(numbers, exponents.shape()).as_dtype(Dtype::Bfloat16);
    Ok(Packed { words: Array::from_slice(&numbers, &words), scales: of_groups(&scales)?, biases: of_groups(&biases)?, packing })
}

fn in_memory<T: ArrayElement>(array: &Array) -> Result<&[T], Exception> {
    array.try_as_slice().map_err(|e| Exception::custom(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_paths_unpack_what_the_codes_stand_for() {
        // All codes twice, in two matrices of one row; the second row is four times as large.
        let codes = [0x7654_3210u32, 0xfedc_ba98, 0x7654_3210, 0xfedc_ba98];
        let (codes, exponents) =
            (Array::from_slice(&[codes, codes].concat(), &[2, 1, 4]), Array::from_slice(&[127u8, 129], &[2, 1, 1]));
        let halves = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
        let row: Vec<f32> = halves.iter().copied().chain(halves.iter().map(|value| 0.0 - value)).collect();
        let wanted: Vec<f32> =
            [1.0, 1.0, 4.0, 4.0].iter().flat_map(|factor| row.iter().map(move |value| factor * value)).collect();
        for path in ComputePath::ALL {
            let unpacked = as_affine(&codes, &exponents, path).unwrap().unpack().unwrap().as_dtype(Dtype::Float32).unwrap();
            assert_eq!((unpacked.shape(), unpacked.as_slice::<f32>()), (&[2, 1, 32][..], &wanted[..]), "{path:?}");
        }
    }
}
