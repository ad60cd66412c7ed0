//! SwiGLU and GeGLU, the gated activations in a transformer's MLP (Shazeer 2020, "GLU Variants Improve Transformer"). Both are
//! `gate * sigmoid(slope) * up`: SwiGLU's slope is the gate itself, and GELU by tanh has a slope of its own, because
//! `(1 + tanh(x)) / 2` is `sigmoid(2 * x)`.

use std::marker::PhantomData;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::exp2::exp2;

/// Numbers that one core computes at a time: with fewer, waking another core costs more than it saves.
const PART: usize = 16 * 1024;

/// Writes `gate * sigmoid(gate) * up`, number by number. The relative error is at most `1e-7 * (5 + |gate|)`; for a gate below
/// -87 the result is 0.
///
/// No result's bits depend on the other numbers or on the number of cores.
///
/// # Panics
///
/// If the lengths differ.
pub fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    gated_on::<Silu>(Arch::new(), gate, up, out);
}

/// The same with GELU by tanh in place of `gate * sigmoid(gate)`: `gate / 2 * (1 + tanh(√(2/π) * (gate + 0.044715 * gate³))) * up`.
///
/// # Panics
///
/// If the lengths differ.
pub fn geglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    gated_on::<Gelu>(Arch::new(), gate, up, out);
}

/// What the sigmoid is taken of.
trait Slope {
    fn of<S: Simd>(simd: S, gate: S::f32s) -> S::f32s;
}

struct Silu;

impl Slope for Silu {
    #[inline(always)]
    fn of<S: Simd>(_simd: S, gate: S::f32s) -> S::f32s {
        gate
    }
}

struct Gelu;

/// `2 √(2/π)`.
const GELU_SLOPE: f32 = 1.595_769;

impl Slope for Gelu {
    #[inline(always)]
    fn of<S: Simd>(simd: S, gate: S::f32s) -> S::f32s {
        let square = simd.mul_f32s(gate, gate);
        let factor = simd.mul_add_e_f32s(square, simd.splat_f32s(GELU_SLOPE * 0.044_715), simd.splat_f32s(GELU_SLOPE));
        simd.mul_f32s(gate, factor)
    }
}

fn gated_on<F: Slope>(arch: Arch, gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert!(gate.len() == up.len() && gate.len() == out.len(), "gate, up and output must have one length");
    let part = |((out, gate), up)| arch.dispatch(GatedPart { gate, up, out, slope: PhantomData::<F> });
    match gate.len() {
        ..=PART => part(((out, gate), up)),
        _ => out.par_chunks_mut(PART).zip(gate.par_chunks(PART)).zip(up.par_chunks(PART)).for_each(part),
    }
}

/// Consecutive numbers for one core.
struct GatedPart<'a, F> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
    slope: PhantomData<F>,
}

impl<F: Slope> WithSimd for GatedPart<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (gates, last_gates) = S::as_simd_f32s(self.gate);
        let (ups, last_ups) = S::as_simd_f32s(self.up);
        let (outs, last_out) = S::as_mut_simd_f32s(self.out);
        for ((out, gate), up) in outs.iter_mut().zip(gates).zip(ups) {
            *out = gated::<S, F>(simd, *gate, *up);
        }
        let last = gated::<S, F>(simd, simd.partial_load_f32s(last_gates), simd.partial_load_f32s(last_ups));
        simd.partial_store_f32s(last_out, last);
    }
}

/// Uses that `sigmoid(x)` is both `1 / (1 + e^-x)` and `e^x / (1 + e^x)`: with `e^-|x|`, at most 1, nothing overflows.
#[inline(always)]
fn gated<S: Simd, F: Slope>(simd: S, gate: S::f32s, up: S::f32s) -> S::f32s {
    let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
    let slope = F::of(simd, gate);
    let size = simd.abs_f32s(slope);
    let power = exp2(simd, simd.mul_f32s(size, simd.splat_f32s(-std::f32::consts::LOG2_E)));
    let above = simd.select_f32s(simd.less_than_f32s(slope, zero), power, one);
    let sigmoid = simd.div_f32s(above, simd.add_f32s(one, power));
    simd.mul_f32s(simd.mul_f32s(gate, sigmoid), up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{arches, numbers};

    fn all(arch: Arch, gate: &[f32], up: &[f32]) -> Vec<f32> {
        all_with::<Silu>(arch, gate, up)
    }

    fn all_with<F: Slope>(arch: Arch, gate: &[f32], up: &[f32]) -> Vec<f32> {
        let mut out = vec![f32::NAN; gate.len()];
        gated_on::<F>(arch, gate, up, &mut out);
        out
    }

    #[test]
    fn geglu_is_gelu_by_tanh() {
        let mut gate = numbers(40_000, 1);
        gate.extend([0.0, -0.0, 9.0, -9.0, 200.0, -200.0, 1e8, -1e8]);
        let up = numbers(gate.len(), 2);
        for ours in arches().into_iter().map(|arch| all_with::<Gelu>(arch, &gate, &up)) {
            for ((ours, gate), up) in ours.into_iter().zip(&gate).zip(&up) {
                let (gate, up) = (f64::from(*gate), f64::from(*up));
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (gate + 0.044_715 * gate.powi(3));
                let wanted = gate / (1.0 + (-2.0 * inner).exp()) * up;
                let difference = (f64::from(ours) - wanted).abs();
                assert!(difference <= 1e-5 * wanted.abs() + 1e-30, "{gate} and {up}: {ours}, not {wanted}");
            }
        }
    }

    #[test]
    fn results_are_those_of_the_formula() {
        let mut gate = numbers(40_000, 1);
        gate.extend([0.0, -0.0, 88.0, -88.0, 200.0, -200.0, 1e30, -1e30]);
        let up = numbers(gate.len(), 2);
        let ours = arches().into_iter().flat_map(|arch| all(arch, &gate, &up));
        for ((ours, gate), up) in ours.zip(gate.iter().cycle()).zip(up.iter().cycle()) {
            let (gate, up) = (f64::from(*gate), f64::from(*up));
            let wanted = gate / (1.0 + (-gate).exp()) * up;
            // Below 2^-126 the sigmoid is taken as 0.
            let difference = (f64::from(ours) - wanted).abs();
            assert!(difference <= 1e-7 * (5.0 + gate.abs()) * wanted.abs() + 1e-30, "{gate} and {up}: {ours}, not {wanted}");
        }
    }

    #[test]
    fn a_number_gives_the_same_bits_alone() {
        let (gate, up) = (numbers(PART * 2 + 77, 3), numbers(PART * 2 + 77, 4));
        for arch in arches() {
            let together = all(arch, &gate, &up);
            for length in [1, 2, 7, 8, 15, 16, 33, PART, PART + 1] {
                for start in [0, 1, PART - 3] {
                    let range = start..start + length;
                    assert!(all(arch, &gate[range.clone()], &up[range.clone()]) == together[range], "{length} from {start}");
                }
            }
            assert!(all(arch, &[], &[]).is_empty());
        }
    }
}
