//! The delta rule on both compute paths: our kernel takes token after token, `chunkwise` takes many at once by products.

mod chunkwise;
mod inputs;

use anyclaude_kernels::{DeltaHeads, DeltaTokens};
use mlx_rs::Array;
use mlx_rs::error::Exception;

use self::chunkwise::by_products;
pub(super) use self::inputs::DeltaInputs;
use super::compute_path::ComputePath;
use super::cpu::{in_rows, numbers, written};

/// The outputs, `[L, Hv, dv]`, and the state after the tokens; `state`: the one before them, `[Hv, dv, dk]`.
///
/// On the CPU path it waits until they are computed, and no bit depends on how tokens are cut into calls.
pub(super) fn delta_rule(path: ComputePath, inputs: &DeltaInputs, state: &Array) -> Result<(Array, Array), Exception> {
    match path {
        ComputePath::Cpu => by_kernel(inputs, state),
        ComputePath::Gpu => by_products(inputs, state),
    }
}

fn by_kernel(inputs: &DeltaInputs, state: &Array) -> Result<(Array, Array), Exception> {
    let DeltaInputs { queries, keys, values, log_decays, strengths } = inputs;
    let arrays = in_rows([queries, keys, values, log_decays, strengths, state])?;
    let tokens = DeltaTokens {
        queries: numbers(&arrays[0])?,
        keys: numbers(&arrays[1])?,
        values: numbers(&arrays[2])?,
        log_decays: numbers(&arrays[3])?,
        strengths: numbers(&arrays[4])?,
    };
    let heads = DeltaHeads {
        keys: keys.dim(1) as usize,
        values: values.dim(1) as usize,
        key_width: keys.dim(2) as usize,
        value_width: values.dim(2) as usize,
    };
    let mut after = numbers(&arrays[5])?.to_vec();
    let outputs = written(values.shape(), |out| anyclaude_kernels::delta_rule(heads, &tokens, &mut after, out));
    Ok((outputs, Array::from_slice(&after, state.shape())))
}

#[cfg(test)]
mod tests {
    use mlx_rs::ops::indexing::TryIndexOp;
    use mlx_rs::ops::{multiply, negative, sigmoid, subtract};
    use mlx_rs::{array, ops::abs};

    use super::*;
    use crate::engine::testing::{largest, normal};

    fn made(tokens: i32, strong: bool) -> DeltaInputs {
        let unit = |seed| mlx_rs::fast::rms_norm(normal(&[tokens, 2, 16], seed), None, 1e-6).unwrap();
        let scaled = |array: Array, by: f32| multiply(array, array!(by)).unwrap();
        let forgotten = negative(abs(normal(&[tokens, 4], 4)).unwrap()).unwrap();
        // Keys all alike, corrected whole and never forgotten: the hardest case for products.
        let alike = mlx_rs::ops::broadcast_to(unit(2).try_index(..1).unwrap(), &[tokens, 2, 16]).unwrap();
        DeltaInputs {
            queries: scaled(unit(1), 0.0625),
            keys: scaled(if strong { alike } else { unit(2) }, 0.25),
            values: normal(&[tokens, 4, 24], 3),
            log_decays: scaled(forgotten, if strong { 0.0 } else { 0.3 }),
            strengths: sigmoid(scaled(normal(&[tokens, 4], 5), if strong { 0.0 } else { 1.0 })).unwrap(),
        }
    }

    #[test]
    fn products_give_what_the_kernel_gives() {
        for (tokens, strong) in [(1, false), (2, false), (7, true), (64, false), (64, true), (150, false), (300, true)] {
            let inputs = made(tokens, strong);
            let state = normal(&[4, 24, 16], 6);
            let (wanted, wanted_state) = by_kernel(&inputs, &state).unwrap();
            let (ours, our_state) = by_products(&inputs, &state).unwrap();
            assert_eq!((ours.shape(), our_state.shape()), (wanted.shape(), wanted_state.shape()));
            let differences = [largest(&subtract(ours, wanted).unwrap()), largest(&subtract(our_state, wanted_state).unwrap())];
            assert!(differences.iter().all(|difference| *difference < 1e-4), "{tokens} tokens: {differences:?}");
        }
    }

    #[test]
    fn tokens_can_be_cut_into_calls_on_both_paths() {
        let (inputs, state) = (made(150, false), normal(&[4, 24, 16], 6));
        let rest = |array: &Array| array.try_index(70..).unwrap();
        let second = DeltaInputs {
            queries: rest(&inputs.queries),
            keys: rest(&inputs.keys),
            values: rest(&inputs.values),
            log_decays: rest(&inputs.log_decays),
            strengths: rest(&inputs.strengths),
        };
        for path in ComputePath::ALL {
            let (_, whole) = delta_rule(path, &inputs, &state).unwrap();
            let (_, first) = delta_rule(path, &inputs.first(70).unwrap(), &state).unwrap();
            let (_, cut) = delta_rule(path, &second, &first).unwrap();
            let difference = largest(&subtract(&whole, &cut).unwrap());
            assert!(difference < 1e-4 && (path == ComputePath::Gpu || difference == 0.0), "{path:?}: {difference}");
        }
    }
}
