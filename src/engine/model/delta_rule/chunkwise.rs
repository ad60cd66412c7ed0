//! The delta rule by products (Yang et al. 2024, "Parallelizing Linear Transformers with the Delta Rule over Sequence Length"):
//! within a chunk of tokens everything is a product of matrices, and only chunks follow each other. How many operations a prompt
//! takes does not depend on the number of its tokens but on that of its chunks.
//!
//! With the sums `G` of the decays' logarithms within a chunk, the corrections `u` that the tokens make to the state `S` before
//! the chunk solve a triangular system: token `i` corrects what `S` and the tokens `j < i` before it know,
//!
//! ```text
//! u_i = β_i · (v_i - e^{G_i} S·k_i - Σ_j e^{G_i - G_j} (k_i·k_j) u_j)
//! ```
//!
//! so `u = T·(β·v) - T·(β·e^G·k)·Sᵀ` with `T = (1 + A)⁻¹` and `A_ij = β_i e^{G_i - G_j} (k_i·k_j)` for `j < i`. Then
//! `output = e^G·q·Sᵀ + (q·kᵀ ∘ e^{G_i - G_j})·u`, and the next chunk's state is `e^{G_C}·S + uᵀ·(e^{G_C - G}·k)`.
//!
//! `T` is found without a loop over tokens: the inverses of diagonal blocks of 1, 2, 4 … tokens each come from the two halves'
//! inverses. Unlike a sum of powers of `A`, that stays exact however alike the keys are.
//!
//! Shapes: `Hk` key heads, `g = Hv / Hk` value heads for each; `n` chunks of `C` tokens. Arrays are `[Hk, g, n, C, width]`; those
//! that do not depend on the value head have 1 in place of `g`.

use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::ops::{
    add, arange, concatenate, exp, expand_dims, floor_divide, ge, gt, logical_and, matmul, multiply, pad, select, subtract,
    swap_axes, zeros_like,
};
use mlx_rs::{Array, Dtype, array};

use super::inputs::DeltaInputs;

/// Tokens of a chunk. Differences of the sums `G` lose digits as these grow: with 64, a router once chose other experts than with
/// one token after the other.
const CHUNK: i32 = 32;

/// Outputs `[L, Hv, dv]` in f32 and the state after the tokens, `[Hv, dv, dk]`; lazy.
pub(super) fn by_products(inputs: &DeltaInputs, state: &Array) -> Result<(Array, Array), Exception> {
    if inputs.tokens() == 1 { step(inputs, state) } else { chunks(inputs, state) }
}

/// A single token: a handful of operations.
fn step(inputs: &DeltaInputs, state: &Array) -> Result<(Array, Array), Exception> {
    let (key_heads, heads) = (inputs.keys.dim(1), inputs.values.dim(1));
    let grouped = [key_heads, heads / key_heads, state.dim(1), state.dim(2)];
    // `[Hk, 1, 1, dk]`, `[Hk, g, dv, 1]` and `[Hk, g, 1, 1]`.
    let row = |array: &Array| array.reshape(&[key_heads, 1, 1, -1]);
    let (query, key) = (row(&inputs.queries)?, row(&inputs.keys)?);
    let column = |array: &Array| array.reshape(&[key_heads, heads / key_heads, -1, 1]);
    let (value, strength) = (column(&inputs.values)?, column(&inputs.strengths)?);
    let decay = column(&exp(&inputs.log_decays)?)?;
    let kept = multiply(state.reshape(&grouped)?, decay)?;
    let known = multiply(&kept, &key)?.sum_axis(-1, true)?;
    let correction = multiply(subtract(value, known)?, strength)?;
    let after = add(kept, multiply(correction, key)?)?;
    let output = multiply(&after, query)?.sum_axis(-1, false)?;
    Ok((output.reshape(&[1, heads, -1])?, after.reshape(state.shape())?))
}

/// Any number of tokens, chunk by chunk.
fn chunks(inputs: &DeltaInputs, state: &Array) -> Result<(Array, Array), Exception> {
    let (tokens, key_heads, heads) = (inputs.tokens(), inputs.keys.dim(1), inputs.values.dim(1));
    let (size, group) = (tokens.min(CHUNK), heads / key_heads);
    let missing = (size - tokens % size) % size;
    // Tokens that fill up the last chunk have no keys and no strength: they change nothing.
    let chunked = |array: &Array, group: i32| {
        let array = array.as_dtype(Dtype::Float32)?.reshape(&[tokens, key_heads * group, -1])?;
        let array = if missing == 0 { array } else { pad(array, &[(0, missing), (0, 0), (0, 0)][..], None, None)? };
        let parted = array.reshape(&[-1, size, key_heads, group, array.dim(2)])?;
        parted.transpose_axes(&[2, 3, 0, 1, 4])
    };
    let (queries, keys) = (chunked(&inputs.queries, 1)?, chunked(&inputs.keys, 1)?);
    let (values, strengths) = (chunked(&inputs.values, group)?, chunked(&inputs.strengths, group)?);
    let sums = chunked(&inputs.log_decays, group)?.cumsum(-2, None, None)?;

    let at = arange::<i32, i32>(0, size, 1)?;
    let (of_query, of_key) = (expand_dims(&at, 1)?, expand_dims(&at, 0)?);
    // e^{G_i - G_j}; the part above the diagonal is left out before it can overflow.
    let between = subtract(&sums, swap_axes(&sums, -1, -2)?)?;
    let decays = exp(select(ge(&of_query, &of_key)?, between, array!(f32::NEG_INFINITY))?)?;
    let key_columns = swap_axes(&keys, -1, -2)?;
    let alike = multiply(multiply(matmul(&keys, &key_columns)?, &decays)?, &strengths)?;
    let alike = select(gt(&of_query, &of_key)?, &alike, zeros_like(&alike)?)?;
    let inverse = unit_triangular_inverse(&alike, &at)?;
    let growth = exp(&sums)?;
    let corrections = matmul(&inverse, multiply(&values, &strengths)?)?;
    let known = matmul(&inverse, multiply(&keys, multiply(&strengths, &growth)?)?)?;
    let asked = multiply(matmul(&queries, &key_columns)?, &decays)?;
    let queries = multiply(&queries, &growth)?;
    let last = sums.try_index((.., .., .., size - 1..size, ..))?;
    let kept_keys = multiply(&keys, exp(subtract(&last, &sums)?)?)?;
    let kept = exp(&last)?;

    let mut state_now = state.reshape(&[key_heads, group, state.dim(1), state.dim(2)])?;
    let mut outputs = Vec::new();
    for chunk in 0..sums.dim(2) {
        let of = |array: &Array| array.try_index((.., .., chunk, .., ..));
        let columns = swap_axes(&state_now, -1, -2)?;
        let own = subtract(of(&corrections)?, matmul(of(&known)?, &columns)?)?;
        outputs.push(add(matmul(of(&queries)?, &columns)?, matmul(of(&asked)?, &own)?)?);
        let learned = matmul(swap_axes(&own, -1, -2)?, of(&kept_keys)?)?;
        state_now = add(multiply(&state_now, of(&kept)?)?, learned)?;
    }
    // `[Hk, g, tokens, dv]` to `[tokens, Hv, dv]`.
    let outputs = if let [one] = &outputs[..] { one.clone() } else { concatenate(&outputs, 2)? };
    let outputs = outputs.try_index((.., .., ..tokens, ..))?.transpose_axes(&[2, 0, 1, 3])?;
    Ok((outputs.reshape(&[tokens, heads, -1])?, state_now.reshape(state.shape())?))
}

/// `(1 + A)⁻¹` for a strictly lower triangular `A`, `[.., C, C]`; `at`: the numbers from 0 to `C`.
///
/// A triangular matrix of two blocks, `[[L, 0], [M, R]]`, has the inverse `[[L⁻¹, 0], [-R⁻¹ M L⁻¹, R⁻¹]]`. So with the inverses
/// of all diagonal blocks of some size in `T`, `T - T·M·T` has those of blocks of twice the size, where `M` is the part of `A`
/// below the diagonal within the larger blocks, outside the smaller ones.
fn unit_triangular_inverse(below: &Array, at: &Array) -> Result<Array, Exception> {
    let size = at.dim(0);
    let (row, column) = (expand_dims(at, 1)?, expand_dims(at, 0)?);
    let identity = row.eq(&column)?.as_dtype(Dtype::Float32)?;
    let within = |block: i32| {
        let of = |at: &Array| floor_divide(at, array!(block));
        of(&row)?.eq(of(&column)?)
    };
    let mut inverse = identity;
    let mut block = 1;
    while block < size {
        let outside = within(block)?.logical_not()?;
        let part = select(logical_and(within(2 * block)?, outside)?, below, zeros_like(below)?)?;
        // The inverse of blocks of one token is 1.
        let change = if block == 1 { part } else { matmul(matmul(&inverse, part)?, &inverse)? };
        inverse = subtract(inverse, change)?;
        block *= 2;
    }
    Ok(inverse)
}
