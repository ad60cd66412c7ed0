//! Brings the tensors of gpt-oss, as OpenAI's model folders have them, into the form of MLX's.
//!
//! OpenAI's have the experts' gates and ups in one tensor, row by row in turn, and the codes of mxfp4 as bytes in blocks. Where
//! their weights are not packed, the input axis comes before that of outputs.

use std::collections::HashMap;

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::{IntoStrideBy, TryIndexOp};
use mlx_rs::ops::swap_axes;

/// The end of the name by which this form is known.
const MARK: &str = ".experts.gate_up_proj_bias";

/// The ends of names, and the ends of those that the parts have.
const PARTS: [(&str, &str); 4] = [("_blocks", ".weight"), ("_scales", ".scales"), ("_bias", ".bias"), (PLAIN, ".weight")];

/// The end of the name of weights that are not packed, `[E, input, output]`: a tensor is named as its layer.
const PLAIN: &str = "";

/// The tensors in MLX's form, nothing evaluated; unchanged if they have it already.
pub(super) fn in_mlx_form(tensors: HashMap<String, Array>) -> Result<HashMap<String, Array>, Exception> {
    if !tensors.keys().any(|name| name.ends_with(MARK)) {
        return Ok(tensors);
    }
    let mut converted = HashMap::with_capacity(tensors.len());
    for (name, array) in tensors {
        let Some((experts, part)) = name.split_once(".experts.") else {
            converted.insert(name, array);
            continue;
        };
        for (end, usual) in PARTS {
            let array = || match end {
                "_blocks" => words(&array),
                PLAIN => swap_axes(&array, -1, -2),
                _ => Ok(array.clone()),
            };
            if part == format!("down_proj{end}") {
                converted.insert(format!("{experts}.experts.down_proj{usual}"), array()?.contiguous()?);
            } else if part == format!("gate_up_proj{end}") {
                // The output axis follows that of the experts.
                for (first, layer) in ["gate_proj", "up_proj"].into_iter().enumerate() {
                    converted.insert(format!("{experts}.experts.{layer}{usual}"), every_other(&array()?, first as i32)?);
                }
            }
        }
    }
    Ok(converted)
}

/// Blocks of bytes, `[.., blocks, 16]`, as words in a row, `[.., 4 · blocks]`.
fn words(blocks: &Array) -> Result<Array, Exception> {
    let words = blocks.view::<u32>()?;
    let [outer @ .., blocks, each] = words.shape() else {
        return Err(Exception::custom("blocks of mxfp4 have two axes and more"));
    };
    words.reshape(&[outer, &[blocks * each]].concat())
}

/// Every other row of `[E, 2 · output, ..]`, from this one on, in memory of their own.
fn every_other(rows: &Array, first: i32) -> Result<Array, Exception> {
    rows.try_index((.., (first..).stride_by(2)))?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_and_ups_are_told_apart_and_bytes_become_words() {
        let tensors = HashMap::from([
            ("l.experts.gate_up_proj_bias".to_owned(), Array::from_slice(&[1.0f32, 2.0, 3.0, 4.0], &[1, 4])),
            ("l.experts.down_proj_blocks".to_owned(), Array::from_slice(&(0..32).collect::<Vec<u8>>(), &[1, 1, 2, 16])),
            ("l.experts.gate_up_proj_scales".to_owned(), Array::from_slice(&[1u8, 2, 3, 4], &[1, 2, 2])),
            ("l.router.bias".to_owned(), Array::from_slice(&[5.0f32], &[1])),
        ]);
        let found = in_mlx_form(tensors).unwrap();
        let mut names: Vec<_> = found.iter().map(|(name, array)| format!("{name} {:?}", array.shape())).collect();
        names.sort();
        insta::assert_snapshot!(names.join("\n"), @r"
        l.experts.down_proj.weight [1, 1, 8]
        l.experts.gate_proj.bias [1, 2]
        l.experts.gate_proj.scales [1, 1, 2]
        l.experts.up_proj.bias [1, 2]
        l.experts.up_proj.scales [1, 1, 2]
        l.router.bias [1]
        ");
        let numbers = |name: &str| found[name].contiguous().unwrap().as_slice::<f32>().to_vec();
        assert_eq!([numbers("l.experts.gate_proj.bias"), numbers("l.experts.up_proj.bias")], [[1.0, 3.0], [2.0, 4.0]]);
        assert_eq!(found["l.experts.down_proj.weight"].as_slice::<u32>()[..2], [0x0302_0100, 0x0706_0504]);
    }

    #[test]
    fn weights_that_are_not_packed_get_their_outputs_first() {
        // Two inputs and three outputs: of gates and ups in turn, these are 0, 1, 2 and 10, 11, 12 for the first input.
        let turned = [0.0f32, 10.0, 1.0, 11.0, 2.0, 12.0, 3.0, 13.0, 4.0, 14.0, 5.0, 15.0];
        let tensors = HashMap::from([
            ("l.experts.gate_up_proj_bias".to_owned(), Array::from_slice(&[0.0f32; 6], &[1, 6])),
            ("l.experts.gate_up_proj".to_owned(), Array::from_slice(&turned, &[1, 2, 6])),
            ("l.experts.down_proj".to_owned(), Array::from_slice(&[0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0], &[1, 3, 2])),
        ]);
        let found = in_mlx_form(tensors).unwrap();
        let numbers = |name: &str| (found[name].shape().to_vec(), found[name].as_slice::<f32>().to_vec());
        assert_eq!(numbers("l.experts.gate_proj.weight"), (vec![1, 3, 2], vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
        assert_eq!(numbers("l.experts.up_proj.weight"), (vec![1, 3, 2], vec![10.0, 13.0, 11.0, 14.0, 12.0, 15.0]));
        assert_eq!(numbers("l.experts.down_proj.weight"), (vec![1, 2, 3], vec![0.0, 2.0, 4.0, 1.0, 3.0, 5.0]));
    }
}
