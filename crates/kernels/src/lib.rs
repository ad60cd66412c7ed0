//! What the engine computes itself on the CPU, because MLX is slow there: causal attention, products of a large
//! matrix and few rows, and SwiGLU.
//!
//! Works on slices of `f32` and knows nothing of MLX. Takes the processor's widest vectors, found out when it runs, and all
//! cores. A package of its own so that it can be optimised where the rest is not: in tests, and while developing.

mod attention;
mod exp2;
mod panel;
mod product;
mod swiglu;

pub use attention::{Heads, KEYS, Piece, Sequence, causal_attention};
pub use product::product;
pub use swiglu::swiglu;

#[cfg(test)]
mod testing {
    use pulp::Arch;

    /// The kinds of vectors that this processor has, and none.
    pub fn arches() -> Vec<Arch> {
        let mut arches = vec![Arch::Scalar, Arch::new()];
        #[cfg(target_arch = "x86_64")]
        arches.extend(pulp::x86::V3::try_new().map(Arch::V3));
        arches
    }

    /// Numbers of all sizes up to 500, both signs.
    pub fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let number = |at: usize| {
            let spread = ((at * 7919 + seed * 104_729) % 20_011) as f32 / 20_011.0 - 0.5;
            spread * 10f32.powi((at % 5) as i32 - 1)
        };
        (0..count).map(number).collect()
    }

    /// Numbers between -1 and 1.
    pub fn small_numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|at| ((at * 7919 + seed * 104_729) % 20_011) as f32 / 10_005.5 - 1.0).collect()
    }
}
