//! `2^x` of a vector's numbers.

use pulp::Simd;

/// 1.5 · 2^23: added to a small number, it leaves the nearest whole number in the lowest bits of the sum.
const ROUNDER: f32 = 12_582_912.0;

/// Coefficients of a polynomial for 2^x between -0.5 and 0.5 (minimax in the relative error), the highest power first. The last
/// one is exactly 1, so that 2^0 is exact.
#[allow(clippy::approx_constant)] // Fitted: close to ln 2, but not it.
const POLYNOMIAL: [f32; 6] = [0.001_326_473_5, 0.009_671_516, 0.055_507_336, 0.240_222_42, 0.693_147, 1.0];

/// `2^x` for `x` up to 0, with a relative error of 2e-7. Below -126 it is 0.
#[inline(always)]
pub(crate) fn exp2<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let rounded = simd.add_f32s(x, simd.splat_f32s(ROUNDER));
    let fraction = simd.sub_f32s(x, simd.sub_f32s(rounded, simd.splat_f32s(ROUNDER)));
    let [highest, rest @ ..] = POLYNOMIAL;
    let mut power = simd.splat_f32s(highest);
    for coefficient in rest {
        power = simd.mul_add_e_f32s(power, fraction, simd.splat_f32s(coefficient));
    }
    // Shifted by 23 bits, the whole number is added to the exponent of `power`. The upper bits of `rounded` are shifted out.
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(23));
    let power = simd.transmute_f32s_u32s(simd.add_u32s(exponent, simd.transmute_u32s_f32s(power)));
    simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(-126.0)), simd.splat_f32s(0.0), power)
}
