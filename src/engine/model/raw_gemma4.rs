//! Brings the tensors of Gemma 4, as Hugging Face's model folders have them, into the form of MLX's: the gates and ups of experts are
//! one tensor in the former.

use std::collections::HashMap;

use mlx_rs::Array;
use mlx_rs::error::Exception;

/// The end of a name by which Gemma 4's experts are known.
const MARK: &str = ".router.per_expert_scale";

/// The ends of the names of stacks `[experts, 2 · inner, hidden]` and `[experts, hidden, inner]`, which are no layers.
const GATES_AND_UPS: &str = ".experts.gate_up_proj";
const DOWNS: &str = ".experts.down_proj";

/// The tensors in MLX's form, nothing evaluated; unchanged if they have it already.
pub(super) fn in_mlx_form(tensors: HashMap<String, Array>) -> Result<HashMap<String, Array>, Exception> {
    if !tensors.keys().any(|name| name.ends_with(MARK)) {
        return Ok(tensors);
    }
    let mut converted = HashMap::with_capacity(tensors.len());
    for (name, array) in tensors {
        if let Some(path) = name.strip_suffix(GATES_AND_UPS) {
            for (part, half) in ["gate_proj", "up_proj"].into_iter().zip(array.split_equal(2, 1)?) {
                converted.insert(format!("{path}.experts.switch_glu.{part}.weight"), half.contiguous()?);
            }
        } else if let Some(path) = name.strip_suffix(DOWNS) {
            converted.insert(format!("{path}.experts.switch_glu.down_proj.weight"), array);
        } else {
            converted.insert(name, array);
        }
    }
    Ok(converted)
}
