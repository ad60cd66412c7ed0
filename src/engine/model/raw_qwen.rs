//! Brings the tensors of Qwen3-Next and Qwen3.5, as Hugging Face's model folders have them, into the form of MLX's.
//!
//! Hugging Face's have 1 subtracted from the weights of most norms, the convolution's axes in another order, and may have the
//! experts' gates and ups in one tensor. The order of the convolution's axes tells the two forms apart.

use std::collections::HashMap;

use mlx_rs::error::Exception;
use mlx_rs::ops::{add, swap_axes};
use mlx_rs::{Array, array};

/// The end of the name of a convolution's weight: `[channels, tokens, 1]` in MLX's form, `[channels, 1, tokens]` in the other.
const CONVOLUTION: &str = ".linear_attn.conv1d.weight";

/// The ends of the names of the norms whose weights have 1 subtracted. Not among them: the norm inside a gated delta net.
const NORMS: [&str; 5] =
    [".input_layernorm.weight", ".post_attention_layernorm.weight", "model.norm.weight", ".q_norm.weight", ".k_norm.weight"];

/// The ends of the names of stacks `[experts, 2 · inner, hidden]` and `[experts, hidden, inner]`, which are no layers.
const GATES_AND_UPS: &str = ".experts.gate_up_proj";
const DOWNS: &str = ".experts.down_proj";

/// The tensors in MLX's form, nothing evaluated; unchanged if they have it already.
pub(super) fn in_mlx_form(tensors: HashMap<String, Array>) -> Result<HashMap<String, Array>, Exception> {
    let is_raw = |(name, array): (&String, &Array)| name.ends_with(CONVOLUTION) && array.ndim() == 3 && array.dim(-1) != 1;
    if !tensors.iter().any(is_raw) {
        return Ok(tensors);
    }
    let mut converted = HashMap::with_capacity(tensors.len());
    for (name, array) in tensors {
        if name.ends_with(CONVOLUTION) {
            converted.insert(name, swap_axes(&array, 1, 2)?);
        } else if NORMS.iter().any(|norm| name.ends_with(norm)) {
            converted.insert(name, add(&array, array!(1.0_f32).as_dtype(array.dtype())?)?);
        } else if let Some(path) = name.strip_suffix(GATES_AND_UPS) {
            let halves = array.split_equal(2, 1)?;
            for (part, half) in ["gate_proj", "up_proj"].into_iter().zip(halves) {
                converted.insert(format!("{path}.switch_mlp.{part}.weight"), half);
            }
        } else if let Some(path) = name.strip_suffix(DOWNS) {
            converted.insert(format!("{path}.switch_mlp.down_proj.weight"), array);
        } else {
            converted.insert(name, array);
        }
    }
    Ok(converted)
}
