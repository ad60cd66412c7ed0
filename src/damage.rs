//! Damaged files for tests: whatever was done to a file, reading it ends in a value or in one line that names the file.

use std::fmt::Display;
use std::fs;
use std::path::Path;

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

/// Writes every damaged variant of a file's content to `path` and reads it. An error must be one line that names the file, and at
/// least `refused` of the variants must be one: some damage is within a text, where nothing can find it.
#[track_caller]
pub(crate) fn assert_errors_name_the_file<T, E: Display>(
    path: &Path,
    bytes: &[u8],
    refused: usize,
    read: impl Fn() -> Result<T, E>,
) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut errors = 0;
    for variant in damaged(bytes) {
        fs::write(path, variant).unwrap();
        if let Err(error) = read() {
            let line = error.to_string();
            assert!(line.contains(name) && !line.contains('\n') && line.len() < 1000, "{line}");
            errors += 1;
        }
    }
    fs::write(path, bytes).unwrap();
    assert!(errors >= refused, "only {errors} of {VARIANTS} variants of {name} were refused");
    assert!(read().is_ok(), "the whole file is read");
}
