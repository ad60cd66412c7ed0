//! Every kind of damage to a file. The tests of the built program use it too.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How many damaged variants of each kind of file are read.
const VARIANTS: usize = 300;

/// Where a file's structure is likeliest: half of the flipped bits are in its first bytes.
const HEAD: usize = 4096;

/// Variants of a file, the same ones each time: one half is cut, in the other a bit or some bits are wrong.
pub(crate) fn damaged(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut random = StdRng::seed_from_u64(bytes.len() as u64);
    let variant = |number: usize| {
        if number.is_multiple_of(2) {
            return bytes[..bytes.len() * number / VARIANTS].to_vec();
        }
        let mut bytes = bytes.to_vec();
        let within = if number % 4 == 1 { bytes.len().min(HEAD) } else { bytes.len() };
        for _ in 0..=number % 3 {
            bytes[random.random_range(0..within)] ^= 1 << random.random_range(0..8);
        }
        bytes
    };
    (0..VARIANTS).map(variant).collect()
}
