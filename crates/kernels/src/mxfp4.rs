//! Weights in mxfp4 (OCP's microscaling formats, 2023) as affine ones, `scale · number + bias`, without any loss.
//!
//! A code of 4 bits stands for one of 15 multiples of one half, -6 to 6, and 32 weights share a power of two as their factor. So
//! each weight is `factor / 2 · (number - 12)` with a whole number from 0 to 24, for which 5 bits are enough.

use rayon::prelude::*;

/// Weights that share a factor.
pub const MXFP4_GROUP: usize = 32;

/// Twice what a code stands for, plus 12.
const NUMBERS: [u8; 16] = [12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0];

/// Words of codes that one task takes: whole groups.
const TASK: usize = 1 << 16;

/// The words of codes, eight in a word, the first in the lowest bits, as words of numbers of so many bits each, at least 5.
///
/// # Panics
///
/// If the codes are no whole groups, or the bits are too few.
pub fn mxfp4_numbers(codes: &[u32], bits: usize) -> Vec<u32> {
    assert!((5..=8).contains(&bits), "a number needs 5 to 8 bits");
    assert!(codes.len().is_multiple_of(MXFP4_GROUP / 8), "whole groups of codes");
    let mut numbers = vec![0; codes.len() * bits / 4];
    numbers.par_chunks_mut(TASK * bits / 4).zip(codes.par_chunks(TASK)).for_each(|(numbers, codes)| {
        let (mut held, mut length) = (0u64, 0);
        let mut numbers = numbers.iter_mut();
        for code in codes.iter().flat_map(|word| (0..8).map(move |place| word >> (4 * place) & 15)) {
            held |= u64::from(NUMBERS[code as usize]) << length;
            length += bits;
            if length >= 32 {
                // Cannot run out: there are `bits / 4` words of numbers for each word of codes.
                numbers.next().into_iter().for_each(|number| *number = held as u32);
                held >>= 32;
                length -= 32;
            }
        }
    });
    numbers
}

/// The scale and the bias of numbers whose codes have a factor with this exponent, as mxfp4 stores it: plus 127.
pub fn mxfp4_scale_and_bias(exponent: u8) -> (f32, f32) {
    let factor = f64::from(exponent) - 127.0;
    ((0.5 * factor.exp2()) as f32, (-6.0 * factor.exp2()) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the codes stand for, by the standard.
    const VALUES: [f32; 16] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

    #[test]
    fn every_weight_is_kept_whatever_the_bits() {
        // More than one task takes, and an end that is none.
        let code = |at: usize| (at * 7 + at / 16) % 16;
        let codes: Vec<u32> =
            (0..TASK + 12).map(|word| (0..8).map(|place| (code(word * 8 + place) as u32) << (4 * place)).sum()).collect();
        for (bits, exponent) in [(5, 127u8), (5, 120), (6, 140), (8, 1), (8, 127)] {
            let (numbers, (scale, bias)) = (mxfp4_numbers(&codes, bits), mxfp4_scale_and_bias(exponent));
            for at in 0..codes.len() * 8 {
                let (word, place) = (at * bits / 32, at * bits % 32);
                let both = u64::from(numbers[word]) | u64::from(*numbers.get(word + 1).unwrap_or(&0)) << 32;
                let number = (both >> place) as u32 & ((1 << bits) - 1);
                let wanted = VALUES[code(at)] * f32::from_bits(u32::from(exponent) << 23);
                assert_eq!(scale * number as f32 + bias, wanted, "{bits} bits, exponent {exponent}, weight {at}");
            }
        }
    }
}
