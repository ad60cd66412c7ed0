//! Quantization as `config.json` describes it: which layers are packed, and how.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::tensor_names::usual_name;

/// How a layer's weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    Affine(Packing),
    /// Codes of 4 bits, with a power of two as the factor of 32 weights: see `mxfp4`.
    MxFp4,
}

/// MLX's affine packing of a matrix: weight = scale · number + bias, with a scale and a bias per group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// Weights in a group.
    pub group_size: usize,
    /// Bits per weight.
    pub bits: usize,
}

/// How every layer is stored. A layer without scales is plain all the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantization {
    /// For layers that are not listed; `None`: plain.
    usual: Option<Storage>,
    /// Exceptions by the layer's path; `None`: plain.
    layers: HashMap<String, Option<Storage>>,
}

#[derive(Deserialize)]
struct PackingFields {
    group_size: usize,
    bits: usize,
    mode: Option<String>,
}

impl Quantization {
    /// Reads the `quantization` object of `config.json`.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let object = value.as_object().ok_or("quantization is not an object")?;
        let layers = object
            .iter()
            .filter(|(_, value)| value.is_object() || value.is_boolean())
            .map(|(path, value)| {
                let stored = match value {
                    Value::Bool(false) => None,
                    // As the layers that are not listed.
                    Value::Bool(true) => Some(storage("quantization", object.clone().into())?),
                    own => Some(storage(&format!("quantization.{path}"), own.clone())?),
                };
                Ok(usual_name(path, usize::MAX).map(|path| (path, stored)))
            })
            .filter_map(Result::transpose)
            .collect::<Result<_, String>>()?;
        Ok(Self { usual: Some(storage("quantization", value.clone())?), layers })
    }

    /// How most layers are stored; `None`: their weights are plain.
    pub fn usual(&self) -> Option<Storage> {
        self.usual
    }

    /// That of gpt-oss as OpenAI ships it, without a list of layers.
    pub fn mxfp4() -> Self {
        Self { usual: Some(Storage::MxFp4), layers: HashMap::new() }
    }

    /// How the layer at this path is stored; `None`: its weights are plain.
    pub fn of(&self, path: &str) -> Option<Storage> {
        self.layers.get(path).copied().unwrap_or(self.usual)
    }
}

fn storage(name: &str, value: Value) -> Result<Storage, String> {
    let fields: PackingFields = serde_json::from_value(value).map_err(|e| format!("{name}: {e}"))?;
    match (fields.mode.as_deref().unwrap_or("affine"), fields.group_size, fields.bits) {
        ("affine", ..) => {}
        ("mxfp4", 32, 4) => return Ok(Storage::MxFp4),
        ("mxfp4", ..) => return Err(format!("{name}: mode \"mxfp4\" has group_size 32 and bits 4")),
        (mode, ..) => return Err(format!("{name}: mode {mode:?} is not supported; the engine reads \"affine\" and \"mxfp4\"")),
    }
    if ![32, 64, 128].contains(&fields.group_size) {
        return Err(format!("{name}: group_size {} is not 32, 64 or 128", fields.group_size));
    }
    if ![2, 3, 4, 5, 6, 8].contains(&fields.bits) {
        return Err(format!("{name}: bits {} is not 2, 3, 4, 5, 6 or 8", fields.bits));
    }
    Ok(Storage::Affine(Packing { group_size: fields.group_size, bits: fields.bits }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_layer_may_have_a_packing_of_its_own_or_none() {
        let quantization = Quantization::parse(&json!({
            "group_size": 64, "bits": 4, "mode": "affine",
            "model.layers.0.mlp.gate": {"group_size": 32, "bits": 8}, "lm_head": false, "model.embed_tokens": true,
        }))
        .unwrap();
        let affine = |group_size, bits| Some(Storage::Affine(Packing { group_size, bits }));
        let usual = affine(64, 4);
        assert_eq!(quantization.of("model.layers.0.mlp.gate"), affine(32, 8));
        assert_eq!(quantization.of("lm_head"), None);
        assert_eq!([quantization.of("model.embed_tokens"), quantization.of("model.layers.1.mlp.gate")], [usual, usual]);
        assert_eq!(Quantization::default().of("lm_head"), None);
    }

    #[test]
    fn some_layers_are_mxfp4() {
        let experts = "model.layers.0.mlp.experts.up_proj";
        let quantization = Quantization::parse(&json!({
            "group_size": 32, "bits": 4, "mode": "mxfp4", "model.layers.0.mlp.router": {"group_size": 64, "bits": 8},
        }));
        let quantization = quantization.unwrap();
        assert_eq!(quantization.of(experts), Some(Storage::MxFp4));
        assert_eq!(quantization.of("model.layers.0.mlp.router"), Some(Storage::Affine(Packing { group_size: 64, bits: 8 })));
        assert_eq!(Quantization::mxfp4().of(experts), Some(Storage::MxFp4));
    }

    #[test]
    fn unsupported_packings_are_refused_by_name() {
        let cases = [
            (json!(4), "quantization is not an object"),
            (json!({"bits": 4}), "quantization: missing field `group_size`"),
            (json!({"group_size": 16, "bits": 4}), "quantization: group_size 16 is not 32, 64 or 128"),
            (json!({"group_size": 64, "bits": 7}), "quantization: bits 7 is not 2, 3, 4, 5, 6 or 8"),
            (
                json!({"group_size": 16, "bits": 4, "mode": "nvfp4"}),
                "quantization: mode \"nvfp4\" is not supported; the engine reads \"affine\" and \"mxfp4\"",
            ),
            (
                json!({"group_size": 64, "bits": 4, "lm_head": {"group_size": 64, "bits": 1}}),
                "quantization.lm_head: bits 1 is not 2, 3, 4, 5, 6 or 8",
            ),
        ];
        for (value, reason) in cases {
            assert_eq!(Quantization::parse(&value), Err(reason.to_string()));
        }
    }
}
