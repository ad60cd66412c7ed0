//! A model's weights: safetensors files, whole or sharded, checked and brought to the type the device computes fastest in.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use mlx_rs::error::IoError;
use mlx_rs::{Array, Device, DeviceType, Dtype};
use serde::Deserialize;

use crate::engine::EngineError;

/// All tensors of a model folder, by name.
pub struct Weights {
    tensors: HashMap<String, (Array, PathBuf)>,
    /// The single file or the index: what to blame for a tensor that is nowhere.
    source: PathBuf,
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Weights {
    /// Reads `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    pub fn load(dir: &Path) -> Result<Self, EngineError> {
        let (single, index) = (dir.join("model.safetensors"), dir.join("model.safetensors.index.json"));
        let (source, files) = if single.exists() || !index.exists() {
            (single.clone(), BTreeSet::from([single]))
        } else {
            let files = shards(&index)?.into_iter().map(|name| dir.join(name)).collect();
            (index, files)
        };
        let mut tensors = HashMap::new();
        for file in files {
            tensors.extend(load_file(&file)?.into_iter().map(|(name, tensor)| (name, (tensor, file.clone()))));
        }
        Ok(Self { tensors, source })
    }

    /// Takes a tensor out; an error when it is missing or has another shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Array, EngineError> {
        let (tensor, file) = self.tensors.remove(name).ok_or_else(|| file_error(&self.source, format!("no tensor {name}")))?;
        if !tensor.shape().iter().map(|&size| size as usize).eq(shape.iter().copied()) {
            let reason = format!("tensor {name} has shape {:?}, config.json says {shape:?}", tensor.shape());
            return Err(file_error(&file, reason));
        }
        Ok(tensor)
    }
}

fn shards(index: &Path) -> Result<BTreeSet<String>, EngineError> {
    let text = std::fs::read(index).map_err(|e| file_error(index, e))?;
    let index_file: Index = serde_json::from_slice(&text).map_err(|e| file_error(index, e))?;
    Ok(index_file.weight_map.into_values().collect())
}

fn load_file(path: &Path) -> Result<HashMap<String, Array>, EngineError> {
    check_length(path)?;
    let failed = |error: IoError| match error {
        IoError::Exception(exception) => file_error(path, exception.what()),
        other => file_error(path, other),
    };
    let on_cpu = matches!(Device::try_default()?.get_type()?, DeviceType::Cpu);
    let mut tensors = Array::load_safetensors(path).map_err(failed)?;
    for tensor in tensors.values_mut() {
        // Half-precision matrix products are 25 times slower than f32 on the CPU.
        if on_cpu && matches!(tensor.dtype(), Dtype::Bfloat16 | Dtype::Float16) {
            *tensor = tensor.as_dtype(Dtype::Float32)?;
        }
    }
    mlx_rs::transforms::eval(tensors.values()).map_err(|e| file_error(path, e.what()))?;
    Ok(tensors)
}

/// MLX reads tensors lazily, on a thread whose errors end the process: a cut file must be found before.
fn check_length(path: &Path) -> Result<(), EngineError> {
    use std::io::Read;
    let io = |error: std::io::Error| file_error(path, error);
    let mut file = std::fs::File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let cut = |needed: u64| file_error(path, format!("the file is cut: {length} bytes of {needed}"));
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(|_| cut(8))?;
    let header_end = u64::from_le_bytes(size).saturating_add(8);
    if header_end > length {
        return Err(cut(header_end));
    }
    let mut header = vec![0; (header_end - 8) as usize];
    file.read_exact(&mut header).map_err(io)?;
    let header: HashMap<String, serde_json::Value> =
        serde_json::from_slice(&header).map_err(|e| file_error(path, format!("not a safetensors file: {e}")))?;
    let data_end = header.values().filter_map(|tensor| tensor.get("data_offsets")?.get(1)?.as_u64()).max().unwrap_or(0);
    let needed = header_end.saturating_add(data_end);
    if needed > length { Err(cut(needed)) } else { Ok(()) }
}

fn file_error(path: &Path, reason: impl ToString) -> EngineError {
    EngineError::ModelFile { path: path.into(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(path: &Path, tensors: &[(&str, &[i32])]) {
        let tensors = tensors.iter().map(|(name, shape)| (*name, mlx_rs::ops::zeros::<f32>(shape).unwrap()));
        Array::save_safetensors(tensors, None, path).unwrap();
    }

    /// The error's text without the temporary folder.
    fn text(dir: &Path, error: EngineError) -> String {
        error.to_string().replace(&format!("{}/", dir.display()), "")
    }

    #[test]
    fn shards_are_read_through_their_index() {
        let dir = tempfile::tempdir().unwrap();
        save(&dir.path().join("a.safetensors"), &[("x", &[2, 3])]);
        save(&dir.path().join("b.safetensors"), &[("y", &[4])]);
        let index = r#"{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}"#;
        std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
        let mut weights = Weights::load(dir.path()).unwrap();
        assert_eq!(weights.take("x", &[2, 3]).unwrap().shape(), [2, 3]);
        assert_eq!(weights.take("y", &[4]).unwrap().shape(), [4]);
        let missing = weights.take("z", &[4]).unwrap_err();
        assert_eq!(text(dir.path(), missing), "model.safetensors.index.json: no tensor z");
    }

    #[test]
    fn another_shape_names_file_and_tensor() {
        let dir = tempfile::tempdir().unwrap();
        save(&dir.path().join("model.safetensors"), &[("x", &[2, 3])]);
        let error = Weights::load(dir.path()).unwrap().take("x", &[3, 2]).unwrap_err();
        assert_eq!(text(dir.path(), error), "model.safetensors: tensor x has shape [2, 3], config.json says [3, 2]");
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        save(&path, &[("x", &[8, 8])]);
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 7, 20, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = Weights::load(dir.path()).err().expect("a cut file must not load");
            assert!(text(dir.path(), error).starts_with("model.safetensors: the file is cut:"), "cut at {length}");
        }
    }

    #[test]
    fn a_folder_without_weights_names_the_file_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let error = Weights::load(dir.path()).err().expect("there is nothing to load");
        assert!(text(dir.path(), error).starts_with("model.safetensors: No such file"));
    }
}
