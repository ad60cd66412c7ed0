//! Chooses tokens on the device, as the sampler does on the host: so that only their ids come back, and the next step can be
//! built on them before they are known.
//!
//! A draw uses the sampler's own random number and order of candidates, so a seed gives the same answer either way. Sums are in
//! f32 here: a number that falls on the border between two tokens, to rounding, can give the other one.

use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::{TryIndexOp, argmax_axis};
use mlx_rs::ops::{argsort_axis, cumsum, divide, exp, ge, gt, le, lt, minimum, multiply, negative, select, subtract};
use mlx_rs::{Array, Dtype, array};

use crate::engine::decode::{Sampler, Sampling, TokenMask};

/// In place of an id: no token had a usable logit.
pub(super) const NO_TOKEN: u32 = u32::MAX;

/// The tokens that the sampler would choose after each of `R` rows if none is masked, `[R]`; of a single row those of the mask
/// count. `None` if the device cannot choose: with penalties, or where a mask decides which tokens are drawn from in several
/// rows.
///
/// `logits`: `[R, vocab]`, f32.
pub(super) fn choose(logits: &Array, sampler: &Sampler, mask: Option<&TokenMask>) -> Result<Option<Array>, Exception> {
    let Some(sampling) = sampler.without_penalties() else { return Ok(None) };
    let (rows, greedy) = (logits.dim(0), sampling.temperature == 0.0);
    let logits = match mask {
        Some(mask) if rows == 1 => {
            let allowed: Vec<bool> = (0..logits.dim(1) as u32).map(|token| mask.allows(token)).collect();
            let allowed = Array::from_slice(&allowed, &[1, logits.dim(1)]);
            select(allowed, logits, array!(f32::NEG_INFINITY))?
        }
        // The likeliest of all tokens is also the likeliest of those that the mask allows, if it is one of them.
        Some(_) if !greedy => return Ok(None),
        _ => logits.clone(),
    };
    let ids = if greedy {
        argmax_axis(&logits, -1, true)?
    } else {
        let draws: Vec<f32> = sampler.next_draws(rows as usize).into_iter().map(|draw| draw as f32).collect();
        drawn(&logits, sampling, &Array::from_slice(&draws, &[rows, 1]))?
    };
    let usable = gt(logits.take_along_axis(&ids, -1)?, array!(f32::NEG_INFINITY))?;
    select(usable, ids, Array::from_slice(&[NO_TOKEN], &[1, 1]))?.reshape(&[-1]).map(Some)
}

/// Draws one of the likeliest tokens after each row, `[R, 1]`, with a number from 0 to 1 for each, `[R, 1]`.
fn drawn(logits: &Array, sampling: &Sampling, draws: &Array) -> Result<Array, Exception> {
    let (vocab, top_k) = (logits.dim(1), sampling.top_k as i32);
    // The likeliest first; NaN last.
    let order = argsort_axis(negative(logits)?, -1)?;
    let order = if top_k > 0 && top_k < vocab { order.try_index((.., ..top_k))? } else { order };
    let sorted = logits.take_along_axis(&order, -1)?;
    // Unnormalised probabilities: the likeliest token has 1.
    let below_best = subtract(&sorted, sorted.try_index((.., 0..1))?)?;
    let weights = exp(divide(below_best, array!(sampling.temperature))?)?;
    let weights = select(gt(&sorted, array!(f32::NEG_INFINITY))?, weights, array!(0.0f32))?;
    let weights = nucleus(weights, sampling)?;
    let sums = cumsum(&weights, -1, None, None)?;
    let all = sums.try_index((.., -1..))?;
    let rank = le(&sums, multiply(draws, all)?)?.as_dtype(Dtype::Int32)?.sum_axis(-1, true)?;
    // Rounding can leave a remainder after the last candidate.
    let candidates = gt(&weights, array!(0.0f32))?.as_dtype(Dtype::Int32)?.sum_axis(-1, true)?;
    order.take_along_axis(minimum(rank, subtract(candidates, array!(1))?)?, -1)
}

/// Sets the weights that top-p and min-p do not keep to zero. The likeliest token is always kept.
fn nucleus(weights: Array, Sampling { top_p, min_p, .. }: &Sampling) -> Result<Array, Exception> {
    let mut weights = weights;
    if *top_p < 1.0 {
        let sums = cumsum(&weights, -1, None, None)?;
        let enough = multiply(sums.try_index((.., -1..))?, array!(top_p.max(f32::MIN_POSITIVE)))?;
        let kept = lt(subtract(&sums, &weights)?, enough)?;
        weights = select(kept, weights, array!(0.0f32))?;
    }
    if *min_p > 0.0 {
        weights = select(ge(&weights, array!(*min_p))?, weights, array!(0.0f32))?;
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::testing;

    /// The token after each row as the sampler samples them, and as the device chooses them.
    fn both(logits: &[Vec<f32>], sampling: &Sampling, mask: Option<&TokenMask>) -> (Vec<u32>, Option<Vec<u32>>) {
        let sampler = || Sampler::new(sampling.clone(), &[]);
        let mut on_host = sampler();
        let sample = |logits: &Vec<f32>| match mask {
            Some(mask) => on_host.sample(logits, mask.iter()),
            None => on_host.sample(logits, 0..logits.len() as u32),
        };
        let expected = logits.iter().map(sample).map(|token| token.unwrap_or(NO_TOKEN)).collect();
        let array = Array::from_slice(&logits.concat(), &[logits.len() as i32, logits[0].len() as i32]);
        let chosen = choose(&array, &sampler(), mask).unwrap();
        (expected, chosen.map(|chosen| chosen.as_slice::<u32>().to_vec()))
    }

    fn sampling(temperature: f32, top_k: u32, top_p: f32, min_p: f32, seed: u64) -> Sampling {
        Sampling { temperature, top_k, top_p, min_p, seed: Some(seed), ..Sampling::GREEDY }
    }

    /// The same cases each time: a draw on the border between two tokens may give the other one, to rounding.
    #[test]
    fn the_device_chooses_what_the_sampler_would() {
        let vocab = 60;
        let logit = prop_oneof![20 => -9f32..9.0, 2 => Just(1.5f32), 1 => Just(f32::NEG_INFINITY)];
        let rows = prop::collection::vec(prop::collection::vec(logit, vocab), 1..4);
        let numbers = (
            prop_oneof![Just(0f32), 0.2f32..3.0],
            prop_oneof![Just(0u32), 1u32..80],
            prop_oneof![Just(1f32), 0f32..1.0],
            prop_oneof![Just(0f32), 0f32..1.0],
            0u64..1000,
        );
        let forbidden = prop::option::of(prop::collection::vec(0..vocab as u32, 0..40));
        let cases = (rows, numbers, forbidden);
        let check = |(mut rows, (temperature, top_k, top_p, min_p, seed), forbidden): (Vec<Vec<f32>>, _, Option<Vec<u32>>)| {
            let sampling = sampling(temperature, top_k, top_p, min_p, seed);
            let mask = forbidden.map(|tokens| TokenMask::all_but(vocab, &tokens));
            if mask.is_some() {
                rows.truncate(1);
            }
            let (expected, chosen) = both(&rows, &sampling, mask.as_ref());
            prop_assert_eq!(chosen, Some(expected), "{:?}", sampling);
            Ok(())
        };
        testing::same_cases(400).run(&cases, check).unwrap();
    }

    #[test]
    fn of_several_rows_with_a_mask_only_the_likeliest_tokens_are_chosen_regardless_of_it() {
        let rows = vec![vec![1.0, 3.0, 2.0], vec![5.0, 3.0, 2.0]];
        let mask = TokenMask::only(3, &[2]);
        assert_eq!(both(&rows, &Sampling::GREEDY, Some(&mask)).1, Some(vec![1, 0]));
        assert_eq!(both(&rows, &sampling(1.0, 0, 1.0, 0.0, 1), Some(&mask)).1, None);
    }

    #[test]
    fn logits_that_are_no_numbers_give_no_token_or_the_one_that_the_sampler_takes() {
        for temperature in [0.0, 1.0] {
            let sampling = sampling(temperature, 0, 1.0, 0.0, 3);
            let unusable = vec![vec![f32::NAN; 4], vec![f32::NEG_INFINITY; 4]];
            let (expected, chosen) = both(&unusable, &sampling, None);
            assert_eq!((chosen, &expected[..]), (Some(expected.clone()), &[NO_TOKEN; 2][..]));
            let (expected, chosen) = both(&[vec![f32::NAN, 1.0, 2.0]], &sampling, None);
            let chosen = chosen.unwrap()[0];
            assert!(chosen == expected[0] || chosen == NO_TOKEN, "{chosen} in place of {expected:?}");
        }
    }

    #[test]
    fn penalties_are_left_to_the_sampler() {
        let penalties = Sampling { repetition_penalty: 1.1, ..Sampling::GREEDY };
        assert_eq!(both(&[vec![1.0, 2.0]], &penalties, None).1, None);
    }
}
