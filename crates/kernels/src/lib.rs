//! CPU kernels for what MLX computes slowly there: causal attention, the gated delta rule, products of few rows with a large or
//! packed matrix, SwiGLU and GeGLU. One more brings weights in mxfp4 into the packing that MLX multiplies with.
//!
//! They work on slices of `f32` and know nothing of MLX. They use all cores and the widest vectors that the processor has, which
//! is found out at run time. This is a package of its own so that it is optimised in tests and debug builds too.
//!
//! Every kernel gives each row or query the same bits whatever is computed beside it and on however many cores. Where a vector's
//! lanes are independent results (queries in attention, numbers in SwiGLU), no operation combines lanes. Where a result is a sum
//! over lanes (products, the delta rule), each result has vectors of its own, and the order of additions depends on its length
//! alone. Cores never share a sum. The bits do depend on the processor's vector width.

mod attention;
mod delta_rule;
mod exp2;
mod gated;
mod mxfp4;
mod packed;
mod panel;
mod product;

pub use attention::{AttentionBatch, Heads, KEY_TILE, KvSlice, QueriedSequence, causal_attention};
pub use delta_rule::{DeltaHeads, DeltaTokens, delta_rule};
pub use gated::{geglu, swiglu};
pub use mxfp4::{MXFP4_GROUP, mxfp4_numbers, mxfp4_scale_and_bias};
pub use packed::{MlxPacked, PackedMatrix, packed_product};
pub use product::product;

#[cfg(test)]
mod testing {
    use pulp::Arch;

    /// Instruction sets to test: scalar, the processor's widest, and AVX2 if it has that.
    pub(crate) fn arches() -> Vec<Arch> {
        let mut arches = vec![Arch::Scalar, Arch::new()];
        #[cfg(target_arch = "x86_64")]
        arches.extend(pulp::x86::V3::try_new().map(Arch::V3));
        arches
    }

    /// Numbers of both signs and many magnitudes, up to 500.
    pub(crate) fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let number = |at: usize| {
            let spread = ((at * 7919 + seed * 104_729) % 20_011) as f32 / 20_011.0 - 0.5;
            spread * 10f32.powi((at % 5) as i32 - 1)
        };
        (0..count).map(number).collect()
    }

    /// Numbers between -1 and 1.
    pub(crate) fn small_numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|at| ((at * 7919 + seed * 104_729) % 20_011) as f32 / 10_005.5 - 1.0).collect()
    }
}
