//! What the engine computes itself on the CPU, because MLX is slow there: causal attention of a prompt, and SwiGLU.
//!
//! Works on slices of `f32` and knows nothing of MLX. Takes the processor's widest vectors, found out when it runs, and all
//! cores. A package of its own so that it can be optimised where the rest is not: in tests, and while developing.

mod attention;
mod exp2;
mod panel;
mod swiglu;

pub use attention::{Heads, Piece, causal_attention};
pub use swiglu::swiglu;
