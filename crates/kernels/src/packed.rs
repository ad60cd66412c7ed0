//! Products of few rows with a matrix whose weights are packed by MLX's affine scheme: a group of neighbouring weights shares a
//! scale and a bias, and each weight is a number of a few bits, `weight = scale · number + bias`.
//!
//! Reading the matrix takes most of the time of such a product, so packed weights are faster by as much as they are smaller,
//! provided that unpacking them costs less than reading what was saved. It is done in registers:
//!
//! - The lanes of a vector are different outputs. A word of each holds the same inputs, so an input is one number for all lanes,
//!   and scales and biases are vectors too.
//! - A number becomes a float without shifts and conversions: masked in its word and put into the mantissa of 2^23, it is that
//!   float plus the number times 2^(its place in the word). The inputs are divided by that power of two beforehand, which is
//!   exact. Only what lies above bit 23 needs a shift, once for each word.
//! - Biases are added once for each group: times the sum of its inputs.

use std::array::from_fn;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Outputs that lie side by side: a whole number of vectors on every processor, two of the widest.
const LANES: usize = 32;

/// Vectors computed together. With more, the compiler no longer unrolls the loop over a word's numbers: five times slower.
const VECTORS: usize = 2;

/// Bits of a mantissa: a number that ends below becomes a float by masking.
const MANTISSA_BITS: usize = 23;

/// Fewest weights, times rows, that one core takes at a time: with fewer, waking another core takes longer than it saves.
const TASK_WEIGHTS: usize = 512 * 1024;

/// 2^23, whose last bit counts 1.
const MAGIC: f32 = 8_388_608.0;

/// A matrix `[outputs, width]` of packed weights.
///
/// Its order in memory is that of the product: tiles of [`LANES`] outputs; in a tile all words, and in a word's place that of
/// each output. The last tile is filled up with outputs that are 0.
pub struct PackedMatrix {
    bits: usize,
    group_size: usize,
    width: usize,
    outputs: usize,
    /// `[tiles, width · bits / 32, LANES]`.
    words: Vec<u32>,
    /// `[tiles, width / group_size, LANES]`.
    scales: Vec<f32>,
    /// As the scales.
    biases: Vec<f32>,
}

/// A matrix as MLX keeps it: output by output.
pub struct MlxPacked<'a> {
    /// 2, 4 or 8: other numbers of bits cross the borders of words.
    pub bits: usize,
    /// Neighbouring inputs that share a scale and a bias.
    pub group_size: usize,
    /// `[outputs, width · bits / 32]`, the first input in the lowest bits.
    pub words: &'a [u32],
    /// `[outputs, width / group_size]`.
    pub scales: &'a [f32],
    /// `[outputs, width / group_size]`.
    pub biases: &'a [f32],
}

impl PackedMatrix {
    /// Whether weights of so many bits can be multiplied as they are.
    pub fn takes(bits: usize) -> bool {
        matches!(bits, 2 | 4 | 8)
    }

    /// Brings a matrix of this width into the order of the product.
    ///
    /// # Panics
    ///
    /// If it has other bits than [`Self::takes`] allows, or a length does not fit.
    pub fn new(matrix: &MlxPacked, width: usize) -> Self {
        let &MlxPacked { bits, group_size, words, scales, biases } = matrix;
        assert!(Self::takes(bits), "{bits} bits");
        assert!(width > 0 && width.is_multiple_of(group_size) && (group_size * bits).is_multiple_of(32), "groups of whole words");
        let (row_words, row_groups) = (width * bits / 32, width / group_size);
        let outputs = words.len() / row_words;
        assert_eq!((words.len(), scales.len()), (outputs * row_words, outputs * row_groups), "each output needs its words");
        assert_eq!(scales.len(), biases.len(), "each scale needs a bias");
        Self {
            bits,
            group_size,
            width,
            outputs,
            words: side_by_side(words, row_words),
            scales: side_by_side(scales, row_groups),
            biases: side_by_side(biases, row_groups),
        }
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of inputs.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        4 * (self.words.len() + self.scales.len() + self.biases.len())
    }

    /// Writes the weights of one output, `[width]`.
    ///
    /// # Panics
    ///
    /// If there is no such output or the length does not fit.
    pub fn unpack_row(&self, output: usize, row: &mut [f32]) {
        assert!(output < self.outputs && row.len() == self.width, "one output's weights");
        for (group, weights) in row.chunks_exact_mut(self.group_size).enumerate() {
            self.tile(output / LANES).unpack(self.bits, group, output % LANES, weights);
        }
    }

    /// Writes all weights, `[outputs, width]`, on all cores.
    ///
    /// # Panics
    ///
    /// If the length does not fit.
    pub fn unpack(&self, matrix: &mut [f32]) {
        assert_eq!(matrix.len(), self.outputs * self.width, "all weights");
        let (arch, size) = (Arch::new(), self.group_size);
        matrix.par_chunks_mut(LANES * self.width).enumerate().for_each(|(tile, rows)| {
            let tile = self.tile(tile);
            arch.dispatch(|| {
                // A group of all outputs lies together in the tile, so this order reads each word's cache line once.
                for group in 0..self.width / size {
                    for (lane, row) in rows.chunks_exact_mut(self.width).enumerate() {
                        tile.unpack(self.bits, group, lane, &mut row[group * size..][..size]);
                    }
                }
            });
        });
    }

    fn tile(&self, tile: usize) -> Tile<'_> {
        let (words, groups) = (self.width * self.bits / 32 * LANES, self.width / self.group_size * LANES);
        Tile {
            words: &self.words[tile * words..][..words],
            scales: &self.scales[tile * groups..][..groups],
            biases: &self.biases[tile * groups..][..groups],
        }
    }
}

/// [`LANES`] outputs of a matrix.
struct Tile<'a> {
    words: &'a [u32],
    scales: &'a [f32],
    biases: &'a [f32],
}

impl Tile<'_> {
    /// Writes a group's weights of one output, `[group_size]`.
    #[inline(always)]
    fn unpack(&self, bits: usize, group: usize, lane: usize, weights: &mut [f32]) {
        let scale = (self.scales[group * LANES + lane], self.biases[group * LANES + lane]);
        let words = &self.words[group * weights.len() * bits / 32 * LANES..];
        match bits {
            2 => unpack_words::<2>(words, lane, scale, weights),
            4 => unpack_words::<4>(words, lane, scale, weights),
            _ => unpack_words::<8>(words, lane, scale, weights),
        }
    }
}

/// Writes the weights of a lane's words, with one scale and bias.
#[inline(always)]
fn unpack_words<const BITS: usize>(words: &[u32], lane: usize, (scale, bias): (f32, f32), weights: &mut [f32]) {
    for (weights, words) in weights.chunks_exact_mut(32 / BITS).zip(words.chunks_exact(LANES)) {
        for (slot, weight) in weights.iter_mut().enumerate() {
            *weight = scale * (words[lane] >> (slot * BITS) & ((1 << BITS) - 1)) as f32 + bias;
        }
    }
}

/// Rows of `length` numbers each, as tiles of [`LANES`] rows with the same place of each row side by side; on all cores.
fn side_by_side<Number: Copy + Default + Send + Sync>(rows: &[Number], length: usize) -> Vec<Number> {
    let tiles = (rows.len() / length).div_ceil(LANES);
    let mut ordered = vec![Number::default(); tiles * length * LANES];
    let size = length * LANES;
    ordered.par_chunks_exact_mut(size).zip(rows.par_chunks(size)).for_each(|(tile, rows)| {
        for (lane, row) in rows.chunks_exact(length).enumerate() {
            for (place, number) in tile[lane..].iter_mut().step_by(LANES).zip(row) {
                *place = *number;
            }
        }
    });
    ordered
}

/// Rows as the product takes them.
struct Inputs {
    /// `[rows, width]`: each number divided by the power of two that its weight is multiplied by.
    scaled: Vec<f32>,
    /// The sum of each group, `[rows, width / group_size]`.
    sums: Vec<f32>,
}

impl Inputs {
    fn new(rows: &[f32], matrix: &PackedMatrix) -> Self {
        let bits = matrix.bits;
        let (per_word, low) = (32 / bits, MANTISSA_BITS / bits);
        let factors: Vec<f32> = (0..per_word).map(|slot| 0.5f32.powi((slot % low * bits) as i32)).collect();
        let scaled = rows.iter().zip(factors.iter().cycle()).map(|(number, factor)| number * factor).collect();
        let sums = rows.chunks_exact(matrix.group_size).map(|group| group.iter().sum()).collect();
        Self { scaled, sums }
    }
}

/// Writes `rows · matrixᵀ`: rows `[rows, width]`, out `[rows, outputs]`.
///
/// No result's bits depend on the other rows, on the number of outputs or on the number of cores.
///
/// # Panics
///
/// If a length does not fit.
pub fn packed_product(rows: &[f32], matrix: &PackedMatrix, out: &mut [f32]) {
    packed_product_on(Arch::new(), rows, matrix, out);
}

fn packed_product_on(arch: Arch, rows: &[f32], matrix: &PackedMatrix, out: &mut [f32]) {
    assert!(rows.len().is_multiple_of(matrix.width), "rows must have the width");
    assert_eq!(out.len(), rows.len() / matrix.width * matrix.outputs, "each row needs its outputs");
    if out.is_empty() {
        return;
    }
    let inputs = &Inputs::new(rows, matrix);
    let tiles = 0..matrix.outputs.div_ceil(LANES);
    let mut tasks: Vec<_> = tiles.map(|tile| TileTask { inputs, matrix, tile: matrix.tile(tile), out: Vec::new() }).collect();
    for row in out.chunks_exact_mut(matrix.outputs) {
        for (task, out) in tasks.iter_mut().zip(row.chunks_mut(LANES)) {
            task.out.push(out);
        }
    }
    let least = TASK_WEIGHTS / (rows.len() * LANES);
    tasks.into_par_iter().with_min_len(least.max(1)).for_each(|task| arch.dispatch(task));
}

/// The products of all rows with one tile.
struct TileTask<'a> {
    inputs: &'a Inputs,
    matrix: &'a PackedMatrix,
    tile: Tile<'a>,
    /// For each row, the tile's outputs.
    out: Vec<&'a mut [f32]>,
}

impl WithSimd for TileTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.matrix.bits {
            2 => self.with_bits::<S, 2>(simd),
            4 => self.with_bits::<S, 4>(simd),
            _ => self.with_bits::<S, 8>(simd),
        }
    }
}

impl TileTask<'_> {
    /// Takes as many rows at a time as there are registers for their sums: words are then unpacked once for all of them.
    #[inline(always)]
    fn with_bits<S: Simd, const BITS: usize>(mut self, simd: S) {
        let (mut row, rows) = (0, self.out.len());
        while row < rows {
            row += match rows - row {
                4.. if S::F32_LANES >= 16 => self.rows::<S, BITS, 4>(simd, row),
                2.. => self.rows::<S, BITS, 2>(simd, row),
                _ => self.rows::<S, BITS, 1>(simd, row),
            };
        }
    }

    /// `R` rows from `row` on with all outputs. Returns `R`.
    #[inline(always)]
    fn rows<S: Simd, const BITS: usize, const R: usize>(&mut self, simd: S, row: usize) -> usize {
        for lane in (0..LANES).step_by(VECTORS * S::F32_LANES) {
            self.outputs::<S, BITS, R>(simd, row, lane);
        }
        R
    }

    /// `R` rows from `row` on with [`VECTORS`] vectors of outputs from `lane` on.
    #[inline(always)]
    fn outputs<S: Simd, const BITS: usize, const R: usize>(&mut self, simd: S, row: usize, lane: usize) {
        let &PackedMatrix { width, group_size, .. } = self.matrix;
        let groups = width / group_size;
        let inputs: [&[f32]; R] = from_fn(|r| &self.inputs.scaled[(row + r) * width..][..width]);
        let sums: [&[f32]; R] = from_fn(|r| &self.inputs.sums[(row + r) * groups..][..groups]);
        let mut totals = [[simd.splat_f32s(0.0); VECTORS]; R];
        let group_words = group_size * BITS / 32;
        for group in 0..groups {
            let words = &self.tile.words[group * group_words * LANES..][..group_words * LANES];
            let inputs = inputs.map(|row| &row[group * group_size..][..group_size]);
            let products = group_products::<S, BITS, R>(simd, words, inputs, lane);
            let scales = vectors::<S>(&self.tile.scales[group * LANES + lane..]);
            let biases = vectors::<S>(&self.tile.biases[group * LANES + lane..]);
            for r in 0..R {
                let sum = simd.splat_f32s(sums[r][group]);
                for v in 0..VECTORS {
                    totals[r][v] = simd.mul_add_e_f32s(scales[v], products[r][v], totals[r][v]);
                    totals[r][v] = simd.mul_add_e_f32s(biases[v], sum, totals[r][v]);
                }
            }
        }
        for (r, totals) in totals.iter().enumerate() {
            let out = &mut self.out[row + r];
            for (v, total) in totals.iter().enumerate() {
                // The last tile may have fewer outputs than lanes.
                let first = (lane + v * S::F32_LANES).min(out.len());
                let end = (first + S::F32_LANES).min(out.len());
                simd.partial_store_f32s(&mut out[first..end], *total);
            }
        }
    }
}

/// The products of a group's numbers, without scale and bias. `words`: the group's, `[words, LANES]`.
#[inline(always)]
fn group_products<S: Simd, const BITS: usize, const R: usize>(
    simd: S,
    words: &[u32],
    inputs: [&[f32]; R],
    lane: usize,
) -> [[S::f32s; VECTORS]; R] {
    let (per_word, low) = (32 / BITS, MANTISSA_BITS / BITS);
    let shift = simd.splat_u32s((low * BITS) as u32);
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; R];
    for (at, words) in words.chunks_exact(LANES).enumerate() {
        let inputs = inputs.map(|row| &row[at * per_word..][..per_word]);
        let words: [S::u32s; VECTORS] = from_fn(|v| S::as_simd_u32s(&words[lane + v * S::F32_LANES..][..S::F32_LANES]).0[0]);
        for slot in 0..low {
            add_products::<S, BITS, R>(simd, &words, slot, inputs.map(|row| row[slot]), &mut sums);
        }
        let words = words.map(|word| simd.wrapping_dyn_shr_u32s(word, shift));
        for slot in low..per_word {
            add_products::<S, BITS, R>(simd, &words, slot - low, inputs.map(|row| row[slot]), &mut sums);
        }
    }
    sums
}

/// Adds an input of each row times the number in this slot of the words, counted from the lowest bits.
#[inline(always)]
fn add_products<S: Simd, const BITS: usize, const R: usize>(
    simd: S,
    words: &[S::u32s; VECTORS],
    slot: usize,
    inputs: [f32; R],
    sums: &mut [[S::f32s; VECTORS]; R],
) {
    let mask = simd.splat_u32s(((1 << BITS) - 1) << (slot * BITS));
    for v in 0..VECTORS {
        let bits = simd.or_u32s(simd.and_u32s(words[v], mask), simd.splat_u32s(MAGIC.to_bits()));
        let number = simd.sub_f32s(simd.transmute_f32s_u32s(bits), simd.splat_f32s(MAGIC));
        for r in 0..R {
            sums[r][v] = simd.mul_add_e_f32s(simd.splat_f32s(inputs[r]), number, sums[r][v]);
        }
    }
}

/// The first [`VECTORS`] vectors of these numbers.
#[inline(always)]
fn vectors<S: Simd>(numbers: &[f32]) -> [S::f32s; VECTORS] {
    from_fn(|v| S::as_simd_f32s(&numbers[v * S::F32_LANES..][..S::F32_LANES]).0[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{arches, small_numbers};

    /// Random words, scales and biases of a matrix.
    struct Content {
        words: Vec<u32>,
        scales: Vec<f32>,
        biases: Vec<f32>,
    }

    fn content(outputs: usize, width: usize, bits: usize, group_size: usize) -> Content {
        let word = |at: usize| (at as u32).wrapping_mul(2_654_435_761).rotate_left(at as u32 % 31);
        let groups = outputs * width / group_size;
        Content {
            words: (0..outputs * width * bits / 32).map(word).collect(),
            scales: small_numbers(groups, 1),
            biases: small_numbers(groups, 2),
        }
    }

    fn packed(content: &Content, width: usize, bits: usize, group_size: usize) -> PackedMatrix {
        let Content { words, scales, biases } = content;
        PackedMatrix::new(&MlxPacked { bits, group_size, words, scales, biases }, width)
    }

    /// A weight by the definition.
    fn weight(content: &Content, (output, input): (usize, usize), width: usize, bits: usize, group_size: usize) -> f32 {
        let bit = (output * width + input) * bits;
        let number = content.words[bit / 32] >> (bit % 32) & ((1 << bits) - 1);
        let group = (output * width + input) / group_size;
        content.scales[group] * number as f32 + content.biases[group]
    }

    const CASES: [(usize, usize, usize, usize); 6] =
        [(4, 64, 96, 128), (4, 32, 1, 32), (8, 128, 33, 256), (2, 32, 70, 96), (8, 32, 64, 64), (4, 128, 31, 384)];

    #[test]
    fn unpacked_weights_are_those_of_the_definition() {
        for (bits, group_size, outputs, width) in CASES {
            let content = content(outputs, width, bits, group_size);
            let mut all = vec![f32::NAN; outputs * width];
            packed(&content, width, bits, group_size).unpack(&mut all);
            for (at, ours) in all.iter().enumerate() {
                assert_eq!(*ours, weight(&content, (at / width, at % width), width, bits, group_size), "{bits} bits, {at}");
            }
        }
    }

    #[test]
    fn products_are_those_of_the_unpacked_matrix_on_every_processor() {
        for (bits, group_size, outputs, width) in CASES {
            let content = content(outputs, width, bits, group_size);
            let matrix = packed(&content, width, bits, group_size);
            let mut all = vec![0.0; outputs * width];
            matrix.unpack(&mut all);
            for rows in [1, 3, 4, 9] {
                let x = small_numbers(rows * width, 3);
                for arch in arches() {
                    let mut out = vec![f32::NAN; rows * outputs];
                    packed_product_on(arch, &x, &matrix, &mut out);
                    for (at, ours) in out.iter().enumerate() {
                        let (row, weights) = (&x[at / outputs * width..][..width], &all[at % outputs * width..][..width]);
                        let wanted: f64 = row.iter().zip(weights).map(|(x, weight)| f64::from(*x) * f64::from(*weight)).sum();
                        let most: f64 = weights.iter().map(|weight| f64::from(weight.abs())).sum();
                        assert!((f64::from(*ours) - wanted).abs() < 1e-6 * most.max(1.0), "{bits} bits: {ours}, not {wanted}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_and_an_output_give_the_same_bits_alone_and_on_wide_vectors() {
        let (bits, group_size, outputs, width) = (4, 64, 70, 512);
        let content = content(outputs, width, bits, group_size);
        let matrix = packed(&content, width, bits, group_size);
        let x = small_numbers(7 * width, 4);
        let product = |arch, x: &[f32], matrix: &PackedMatrix| {
            let mut out = vec![f32::NAN; x.len() / width * matrix.outputs()];
            packed_product_on(arch, x, matrix, &mut out);
            out
        };
        let together = product(Arch::new(), &x, &matrix);
        for (row, wanted) in x.chunks_exact(width).zip(together.chunks_exact(outputs)) {
            assert!(product(Arch::new(), row, &matrix) == wanted);
        }
        let (row_words, row_groups) = (width * bits / 32, width / group_size);
        let some = Content {
            words: content.words[40 * row_words..].to_vec(),
            scales: content.scales[40 * row_groups..].to_vec(),
            biases: content.biases[40 * row_groups..].to_vec(),
        };
        let some = product(Arch::new(), &x[..width], &packed(&some, width, bits, group_size));
        assert!(some == together[40..outputs]);
        assert!(product(Arch::new(), &[], &matrix).is_empty());
    }
}
