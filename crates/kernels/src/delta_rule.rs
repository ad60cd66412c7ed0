//! The gated delta rule (Yang et al. 2024, "Gated Delta Networks"), token by token.
//!
//! Each value head has a state `S`, a matrix `[value width, key width]` that maps keys to values. A token multiplies it by
//! `decay`, then moves the value that it maps the token's key to towards the token's value, by the fraction `strength`, and reads
//! it at the token's query:
//!
//! ```text
//! S ← decay · S;   S ← S + strength · (value - S·key) · keyᵀ;   output = S·query
//! ```
//!
//! The rows of a state do not depend on each other, so they are shared among the cores, and a row stays in the processor's cache
//! for all tokens. No result's bits depend on how the tokens are cut into calls or on the number of cores.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Rows of a state that one task computes.
const TASK_ROWS: usize = 16;

/// The sizes of a gated delta net's heads.
#[derive(Clone, Copy)]
pub struct DeltaHeads {
    /// Heads of queries and keys.
    pub keys: usize,
    /// Heads of values: a multiple of `keys`. Consecutive ones share a key head.
    pub values: usize,
    /// Numbers in a query or key.
    pub key_width: usize,
    /// Numbers in a value.
    pub value_width: usize,
}

/// The inputs of consecutive tokens of one sequence.
#[derive(Clone, Copy)]
pub struct DeltaTokens<'a> {
    /// `[tokens, key heads, key width]`.
    pub queries: &'a [f32],
    /// `[tokens, key heads, key width]`.
    pub keys: &'a [f32],
    /// `[tokens, value heads, value width]`.
    pub values: &'a [f32],
    /// Natural logarithms of the decays, `[tokens, value heads]`.
    pub log_decays: &'a [f32],
    /// `[tokens, value heads]`.
    pub strengths: &'a [f32],
}

/// Takes the state `[value heads, value width, key width]` through all tokens, and writes each token's output,
/// `[tokens, value heads, value width]`.
///
/// # Panics
///
/// If a length does not fit the heads.
pub fn delta_rule(heads: DeltaHeads, tokens: &DeltaTokens, state: &mut [f32], output: &mut [f32]) {
    delta_rule_on(Arch::new(), heads, tokens, state, output);
}

fn delta_rule_on(arch: Arch, heads: DeltaHeads, tokens: &DeltaTokens, state: &mut [f32], output: &mut [f32]) {
    let DeltaHeads { keys, values, key_width, value_width } = heads;
    assert!(keys > 0 && values.is_multiple_of(keys) && key_width > 0 && value_width > 0, "impossible heads");
    let count = tokens.strengths.len() / values;
    assert_eq!(state.len(), values * value_width * key_width, "the state does not fit");
    assert_eq!(tokens.strengths.len(), count * values, "the strengths do not fit");
    assert_eq!(tokens.log_decays.len(), count * values, "the decays do not fit");
    assert_eq!(tokens.queries.len(), count * keys * key_width, "the queries do not fit");
    assert_eq!(tokens.keys.len(), count * keys * key_width, "the keys do not fit");
    assert_eq!(tokens.values.len(), count * values * value_width, "the values do not fit");
    assert_eq!(output.len(), tokens.values.len(), "each token needs its output");
    if count == 0 {
        return;
    }
    let decays: Vec<f32> = tokens.log_decays.iter().map(|log| log.exp()).collect();
    let parts: Vec<StateRows> = state
        .chunks_mut(value_width * key_width)
        .enumerate()
        .flat_map(|(head, state)| {
            let rows = state.chunks_mut(TASK_ROWS * key_width).enumerate();
            rows.map(move |(part, state)| StateRows { head, first: part * TASK_ROWS, state })
        })
        .collect();
    let outputs: Vec<(usize, usize, Vec<f32>)> = parts
        .into_par_iter()
        .with_max_len(1)
        .map(|rows| {
            let (head, first) = (rows.head, rows.first);
            (head, first, arch.dispatch(DeltaTask { heads, tokens, decays: &decays, rows }))
        })
        .collect();
    for (head, first, own) in outputs {
        let width = own.len() / count;
        for (token, own) in own.chunks_exact(width).enumerate() {
            output[(token * values + head) * value_width + first..][..width].copy_from_slice(own);
        }
    }
}

/// Some rows of one head's state.
struct StateRows<'a> {
    head: usize,
    /// The number of the first row.
    first: usize,
    /// `[rows, key width]`.
    state: &'a mut [f32],
}

/// Some rows of a head's state, taken through all tokens.
struct DeltaTask<'a> {
    heads: DeltaHeads,
    tokens: &'a DeltaTokens<'a>,
    decays: &'a [f32],
    rows: StateRows<'a>,
}

impl WithSimd for DeltaTask<'_> {
    /// The outputs, `[tokens, rows]`.
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let DeltaHeads { keys, values, key_width, value_width } = self.heads;
        let StateRows { head, first, state } = self.rows;
        let key_head = head / (values / keys);
        let rows = state.len() / key_width;
        let mut outputs = Vec::with_capacity(self.decays.len() / values * rows);
        for token in 0..self.decays.len() / values {
            let scalar = token * values + head;
            let (decay, strength) = (self.decays[scalar], self.tokens.strengths[scalar]);
            let at = (token * keys + key_head) * key_width;
            let (key, query) = (&self.tokens.keys[at..][..key_width], &self.tokens.queries[at..][..key_width]);
            let value = &self.tokens.values[scalar * value_width + first..][..rows];
            for (row, value) in state.chunks_exact_mut(key_width).zip(value) {
                let known = decay * dot(simd, row, key);
                outputs.push(correct_and_ask(simd, row, decay, strength * (value - known), key, query));
            }
        }
        outputs
    }
}

/// The dot product of two slices of one length.
#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, last_a), (b, last_b)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let mut sum = simd.mul_f32s(simd.partial_load_f32s(last_a), simd.partial_load_f32s(last_b));
    for (a, b) in a.iter().zip(b) {
        sum = simd.mul_add_e_f32s(*a, *b, sum);
    }
    simd.reduce_sum_f32s(sum)
}

/// `row ← decay · row + correction · key`; returns its dot product with the query.
#[inline(always)]
fn correct_and_ask<S: Simd>(simd: S, row: &mut [f32], decay: f32, correction: f32, key: &[f32], query: &[f32]) -> f32 {
    let (decay, correction) = (simd.splat_f32s(decay), simd.splat_f32s(correction));
    let (rows, last_row) = S::as_mut_simd_f32s(row);
    let ((keys, last_key), (queries, last_query)) = (S::as_simd_f32s(key), S::as_simd_f32s(query));
    let corrected = |row, key| simd.mul_add_e_f32s(correction, key, simd.mul_f32s(decay, row));
    let last = corrected(simd.partial_load_f32s(last_row), simd.partial_load_f32s(last_key));
    simd.partial_store_f32s(last_row, last);
    let mut sum = simd.mul_f32s(last, simd.partial_load_f32s(last_query));
    for ((row, key), query) in rows.iter_mut().zip(keys).zip(queries) {
        *row = corrected(*row, *key);
        sum = simd.mul_add_e_f32s(*row, *query, sum);
    }
    simd.reduce_sum_f32s(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{arches, small_numbers};

    /// Numbers for some tokens.
    struct Made {
        heads: DeltaHeads,
        parts: [Vec<f32>; 5],
        state: Vec<f32>,
    }

    fn made(heads: DeltaHeads, count: usize) -> Made {
        let keys = |seed| small_numbers(count * heads.keys * heads.key_width, seed).iter().map(|n| n * 0.3).collect();
        let scalars = |seed| small_numbers(count * heads.values, seed);
        let values = small_numbers(count * heads.values * heads.value_width, 3);
        let log_decays = scalars(4).iter().map(|n| -n.abs()).collect();
        let strengths = scalars(5).iter().map(|n| n.abs()).collect();
        let state = small_numbers(heads.values * heads.value_width * heads.key_width, 6);
        Made { heads, parts: [keys(1), keys(2), values, log_decays, strengths], state }
    }

    impl Made {
        /// Outputs and the state after the tokens, computed in calls of these many tokens.
        fn computed(&self, arch: Arch, calls: &[usize]) -> (Vec<f32>, Vec<f32>) {
            let (mut state, mut output) = (self.state.clone(), Vec::new());
            let (all, mut start) = (calls.iter().sum::<usize>(), 0);
            for count in calls {
                let of = |part: usize| {
                    let width = self.parts[part].len() / all;
                    &self.parts[part][start * width..(start + count) * width]
                };
                let tokens = DeltaTokens { queries: of(0), keys: of(1), values: of(2), log_decays: of(3), strengths: of(4) };
                let mut own = vec![f32::NAN; tokens.values.len()];
                delta_rule_on(arch, self.heads, &tokens, &mut state, &mut own);
                output.extend(own);
                start += count;
            }
            (output, state)
        }

        /// The formula in double precision.
        fn by_formula(&self, count: usize) -> (Vec<f64>, Vec<f64>) {
            let DeltaHeads { keys, values, key_width, value_width } = self.heads;
            let [queries, key, value, log_decays, strengths] = &self.parts;
            let mut state: Vec<f64> = self.state.iter().map(|n| f64::from(*n)).collect();
            let mut output = Vec::new();
            for token in 0..count {
                for head in 0..values {
                    let at = (token * keys + head / (values / keys)) * key_width;
                    let scalar = token * values + head;
                    for row in 0..value_width {
                        let own = &mut state[(head * value_width + row) * key_width..][..key_width];
                        own.iter_mut().for_each(|n| *n *= f64::from(log_decays[scalar]).exp());
                        let known: f64 = own.iter().zip(&key[at..]).map(|(s, k)| s * f64::from(*k)).sum();
                        let wanted = f64::from(value[scalar * value_width + row]);
                        let correction = f64::from(strengths[scalar]) * (wanted - known);
                        own.iter_mut().zip(&key[at..]).for_each(|(s, k)| *s += correction * f64::from(*k));
                        output.push(own.iter().zip(&queries[at..]).map(|(s, q)| s * f64::from(*q)).sum());
                    }
                }
            }
            (output, state)
        }
    }

    fn some_heads() -> [DeltaHeads; 3] {
        [
            DeltaHeads { keys: 1, values: 1, key_width: 3, value_width: 2 },
            DeltaHeads { keys: 2, values: 4, key_width: 16, value_width: 20 },
            DeltaHeads { keys: 1, values: 3, key_width: 33, value_width: 40 },
        ]
    }

    #[test]
    fn outputs_and_states_are_those_of_the_formula() {
        for heads in some_heads() {
            let made = made(heads, 9);
            let (output, state) = made.by_formula(9);
            for arch in arches() {
                let ours = made.computed(arch, &[9]);
                for (ours, wanted) in ours.0.iter().zip(&output).chain(ours.1.iter().zip(&state)) {
                    assert!((f64::from(*ours) - wanted).abs() < 1e-4, "{ours}, not {wanted}");
                }
            }
        }
    }

    #[test]
    fn how_tokens_are_cut_into_calls_changes_no_bit() {
        for heads in some_heads() {
            let made = made(heads, 9);
            for arch in arches() {
                let whole = made.computed(arch, &[9]);
                for calls in [&[1, 8][..], &[4, 5], &[1; 9], &[0, 9, 0]] {
                    assert!(made.computed(arch, calls) == whole, "{calls:?}");
                }
            }
        }
    }
}
