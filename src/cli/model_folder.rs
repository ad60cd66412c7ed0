//! A model folder, looked at from outside: are its files there, and how large is the model?

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

#[cfg(feature = "mlx")]
use super::CliError;
#[cfg(feature = "mlx")]
use crate::backend::mlx::MlxBackend;
#[cfg(feature = "mlx")]
use crate::engine::{EngineError, EngineOptions};
use crate::hub::{HubCache, HubError, ModelName};
use crate::tensor_file::{TensorFile, TensorFileError};

/// What every model folder must have beside its weights.
const FILES: [&str; 3] = ["config.json", "tokenizer.json", "tokenizer_config.json"];

/// What a model folder holds.
#[derive(Debug, PartialEq, Eq)]
pub struct ModelFolder {
    /// `model_type` of config.json: the architecture's family.
    pub kind: String,
    pub weight_files: usize,
    /// Size of the weight files, in bytes.
    pub weight_bytes: u64,
    /// Numbers in all tensors.
    pub parameters: u64,
    /// Entries of the tokenizer's vocabulary, special tokens included.
    pub vocabulary: usize,
}

/// Why a folder is no model folder.
#[derive(Debug, thiserror::Error)]
pub enum ModelFolderError {
    #[error("{}: no such folder: a model folder in Hugging Face layout is needed", .0.display())]
    NoFolder(PathBuf),
    #[error("{0}: no such folder, and no model of this name was pulled; get it with: anyclaude model pull {0}")]
    NotPulled(ModelName),
    #[error(transparent)]
    Cache(#[from] HubError),
    #[error("{} is missing: the model folder is incomplete, get it again", .0.display())]
    Missing(PathBuf),
    #[error("{}: {reason}: get the model folder again", path.display())]
    Unreadable { path: PathBuf, reason: String },
}

/// Loads a model folder that was inspected, on a thread where that may block.
#[cfg(feature = "mlx")]
pub async fn load(folder: PathBuf, options: EngineOptions) -> Result<MlxBackend, CliError> {
    let loaded = tokio::task::spawn_blocking(move || MlxBackend::load(&folder, options)).await;
    loaded.map_err(CliError::backend)?.map_err(|error| match error {
        EngineError::ModelFile { .. } => {
            CliError::input(format!("{error}: get the model folder again, or choose another with --model"))
        }
        EngineError::CacheFolder { .. } => CliError::input(format!("{error}: choose another folder with --cache-dir")),
        other => CliError::backend(other),
    })
}

impl ModelFolder {
    /// The folder that `--model` means, looked at: a path, or else the name of a model that was pulled.
    pub fn find(given: &Path) -> Result<PathBuf, ModelFolderError> {
        let name = given.to_str().and_then(|text| text.parse::<ModelName>().ok());
        let folder = match name {
            Some(name) if !given.is_dir() => HubCache::from_env()?.snapshot(&name).ok_or(ModelFolderError::NotPulled(name))?,
            _ => given.to_owned(),
        };
        Self::inspect(&folder).map(|_| folder)
    }

    /// Looks at the files' presence and headers; weights are not read.
    pub fn inspect(folder: &Path) -> Result<Self, ModelFolderError> {
        if !folder.is_dir() {
            return Err(ModelFolderError::NoFolder(folder.to_owned()));
        }
        if let Some(missing) = FILES.map(|name| folder.join(name)).into_iter().find(|path| !path.is_file()) {
            return Err(ModelFolderError::Missing(missing));
        }
        let weights = weight_files(folder).map_err(|error| unreadable(folder, error))?;
        if weights.is_empty() {
            return Err(ModelFolderError::Missing(folder.join("model.safetensors")));
        }
        let mut found = Self {
            kind: kind(folder)?,
            weight_files: weights.len(),
            weight_bytes: 0,
            parameters: 0,
            vocabulary: vocabulary(folder)?,
        };
        for path in &weights {
            let (bytes, parameters) = measure(path).map_err(|error| unreadable(path, error))?;
            found.weight_bytes += bytes;
            found.parameters += parameters;
        }
        Ok(found)
    }
}

/// A count as people say it: `460 thousand`, `1.7 billion`.
pub fn in_words(count: u64) -> String {
    match count as f64 {
        n if n < 1e6 => format!("{:.0} thousand", n / 1e3),
        n if n < 1e9 => format!("{:.1} million", n / 1e6),
        n => format!("{:.1} billion", n / 1e9),
    }
}

fn unreadable(path: &Path, error: impl ToString) -> ModelFolderError {
    ModelFolderError::Unreadable { path: path.to_owned(), reason: error.to_string() }
}

fn weight_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    Ok(paths)
}

fn read_json(path: &Path) -> Result<Value, ModelFolderError> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
    serde_json::from_str(&text).map_err(|error| unreadable(path, error))
}

fn kind(folder: &Path) -> Result<String, ModelFolderError> {
    let path = folder.join("config.json");
    let config = read_json(&path)?;
    config["model_type"].as_str().map(str::to_owned).ok_or_else(|| unreadable(&path, "it has no model_type"))
}

fn vocabulary(folder: &Path) -> Result<usize, ModelFolderError> {
    let tokenizer = read_json(&folder.join("tokenizer.json"))?;
    let vocabulary = tokenizer["model"]["vocab"].as_object().cloned().unwrap_or_default();
    // Some tokenizers list their special tokens in both places.
    let added = tokenizer["added_tokens"].as_array().into_iter().flatten().filter_map(|token| token["content"].as_str());
    Ok(vocabulary.len() + added.filter(|token| !vocabulary.contains_key(*token)).count())
}

/// Bytes and numbers of a weight file.
fn measure(path: &Path) -> Result<(u64, u64), TensorFileError> {
    let TensorFile { bytes, shapes, .. } = TensorFile::open(path)?;
    Ok((bytes, shapes.iter().map(|shape| shape.iter().product::<u64>()).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with two tensors of 12 and 5 numbers and a vocabulary of 3.
    fn write(folder: &Path) {
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]},"b":{"dtype":"F32","shape":[5],"data_offsets":[48,68]}}"#;
        let mut weights = (header.len() as u64).to_le_bytes().to_vec();
        weights.extend(header.bytes());
        weights.extend([0; 68]);
        fs::write(folder.join("model.safetensors"), weights).unwrap();
        fs::write(folder.join("config.json"), r#"{"model_type":"qwen3"}"#).unwrap();
        fs::write(
            folder.join("tokenizer.json"),
            r#"{"model":{"vocab":{"a":0,"b":1}},"added_tokens":[{"id":1,"content":"b"},{"id":2,"content":"<end>"}]}"#,
        )
        .unwrap();
        fs::write(folder.join("tokenizer_config.json"), "{}").unwrap();
    }

    #[test]
    fn a_whole_folder_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let found = ModelFolder::inspect(folder.path()).unwrap();
        assert_eq!((found.kind.as_str(), found.weight_files, found.parameters, found.vocabulary), ("qwen3", 1, 17, 3));
    }

    #[test]
    fn each_missing_file_is_named() {
        for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path());
            fs::remove_file(folder.path().join(name)).unwrap();
            let error = ModelFolder::inspect(folder.path()).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("{} is missing: the model folder is incomplete, get it again", folder.path().join(name).display())
            );
        }
    }

    #[test]
    fn broken_files_are_named() {
        for (name, content, reason) in [
            ("config.json", &b"{"[..], "EOF while parsing"),
            ("config.json", b"{}", "it has no model_type"),
            ("model.safetensors", b"abc", "the file is cut: 3 bytes of 8"),
            (
                "model.safetensors",
                b"\xff\xff\xff\xff\xff\xff\xff\xff",
                "not a safetensors file: its header would have 18446744073709551615 bytes",
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path());
            fs::write(folder.path().join(name), content).unwrap();
            let error = ModelFolder::inspect(folder.path()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{}: {reason}", folder.path().join(name).display())), "{error}");
        }
    }
}
