//! A model folder as seen from outside: are its files there, and how large is the model?

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::hub::{HubCache, HubError, ModelName};
use crate::tensor_file::{TensorFile, TensorFileError};

/// What every model folder must have beside its weights.
const FILES: [&str; 3] = ["config.json", TOKENIZER, "tokenizer_config.json"];

const TOKENIZER: &str = "tokenizer.json";

/// What a model folder holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ModelFolder {
    /// `model_type` of config.json: the architecture's family.
    pub kind: String,
    /// Number of weight files.
    pub weight_files: usize,
    /// Size of the weight files, in bytes.
    pub weight_bytes: u64,
    /// Numbers in all tensors.
    pub parameters: u64,
}

/// Why a folder is no model folder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelFolderError {
    /// The path is no folder.
    #[error("{}: no such folder, and no model's name: those are OWNER/NAME, and tiny for the one in this program", .0.display())]
    NoFolder(PathBuf),
    /// The path could be a model's name, but no model of that name was pulled.
    #[error("{0}: no such folder, and no model of this name was pulled; get it with: anyclaude model pull {0}")]
    NotPulled(ModelName),
    /// The hub's cache cannot be read.
    #[error(transparent)]
    Cache(#[from] HubError),
    /// A file is missing.
    #[error("{} is missing: the model folder is incomplete, get it again", .0.display())]
    Missing(PathBuf),
    /// The model in this program cannot be written to its folder.
    #[cfg(feature = "mlx")]
    #[error(transparent)]
    NotUnpacked(#[from] crate::backend::mlx::embedded::NotUnpacked),
    /// A file cannot be read or understood.
    #[error("{}: {reason}: get the model folder again", path.display())]
    Unreadable { path: PathBuf, reason: String },
}

/// The folder that `--model` means: a path, the name of a model that was pulled, or that of the model in this program. Looks only at
/// which files are there.
pub(crate) fn find(given: &Path) -> Result<PathBuf, ModelFolderError> {
    #[cfg(feature = "mlx")]
    if given == Path::new(super::EMBEDDED) && !given.join("config.json").is_file() {
        return Ok(crate::backend::mlx::embedded::folder()?);
    }
    let name = given.to_str().and_then(|text| text.parse::<ModelName>().ok());
    let folder = match name {
        Some(name) if !given.is_dir() => HubCache::from_env()?.snapshot(&name).ok_or(ModelFolderError::NotPulled(name))?,
        _ => given.to_owned(),
    };
    weight_files(&folder).map(|_| folder)
}

impl ModelFolder {
    /// Reads the configuration and the headers of the weight files; neither weights nor the tokenizer.
    pub(crate) fn inspect(folder: &Path) -> Result<Self, ModelFolderError> {
        let weights = weight_files(folder)?;
        let mut found = Self { kind: kind(folder)?, weight_files: weights.len(), weight_bytes: 0, parameters: 0 };
        for path in &weights {
            let (bytes, parameters) = measure(path).map_err(|error| unreadable(path, error))?;
            found.weight_bytes += bytes;
            found.parameters += parameters;
        }
        Ok(found)
    }
}

/// The number of entries in a model folder's vocabulary, special tokens included.
pub(crate) fn vocabulary_size(folder: &Path) -> Result<usize, ModelFolderError> {
    let path = folder.join(TOKENIZER);
    let file = File::open(&path).map_err(|error| unreadable(&path, error))?;
    let tokenizer: TokenizerFile = serde_json::from_reader(BufReader::new(file)).map_err(|error| unreadable(&path, error))?;
    let added: HashSet<&str> = tokenizer.added_tokens.iter().map(|token| token.content.as_str()).collect();
    Ok(match &tokenizer.model.vocab {
        // Some tokenizers list their special tokens in both places.
        VocabularyJson::Ids(ids) => ids.len() + added.iter().filter(|token| !ids.contains_key(**token)).count(),
        VocabularyJson::Scores(scores) => {
            let listed: HashSet<&str> = scores.iter().map(|(token, _)| token.as_str()).collect();
            listed.union(&added).count()
        }
    })
}

/// What counts tokens in tokenizer.json.
#[derive(Deserialize)]
struct TokenizerFile {
    model: TokenizerModel,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct TokenizerModel {
    vocab: VocabularyJson,
}

#[derive(Deserialize)]
struct AddedToken {
    content: String,
}

/// A vocabulary, by token: BPE models give ids, Unigram models scores.
#[derive(Deserialize)]
#[serde(untagged)]
enum VocabularyJson {
    Ids(HashMap<String, IgnoredAny>),
    Scores(Vec<(String, IgnoredAny)>),
}

/// A count as people say it: `460 thousand`, `1.7 billion`.
pub(crate) fn in_words(count: u64) -> String {
    match count as f64 {
        n if n < 1e6 => format!("{:.0} thousand", n / 1e3),
        n if n < 1e9 => format!("{:.1} million", n / 1e6),
        n => format!("{:.1} billion", n / 1e9),
    }
}

fn unreadable(path: &Path, error: impl ToString) -> ModelFolderError {
    ModelFolderError::Unreadable { path: path.to_owned(), reason: error.to_string() }
}

/// The weight files of a folder that has everything a model folder must have.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, ModelFolderError> {
    if !folder.is_dir() {
        return Err(ModelFolderError::NoFolder(folder.to_owned()));
    }
    if let Some(missing) = FILES.map(|name| folder.join(name)).into_iter().find(|path| !path.is_file()) {
        return Err(ModelFolderError::Missing(missing));
    }
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let entries = entries.map_err(|error| unreadable(folder, error))?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    if paths.is_empty() {
        return Err(ModelFolderError::Missing(folder.join("model.safetensors")));
    }
    Ok(paths)
}

fn kind(folder: &Path) -> Result<String, ModelFolderError> {
    let path = folder.join("config.json");
    let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
    let config: Value = serde_json::from_str(&text).map_err(|error| unreadable(&path, error))?;
    config["model_type"].as_str().map(str::to_owned).ok_or_else(|| unreadable(&path, "it has no model_type"))
}

/// Bytes and numbers of a weight file.
fn measure(path: &Path) -> Result<(u64, u64), TensorFileError> {
    let TensorFile { bytes, shapes, .. } = TensorFile::open(path)?;
    Ok((bytes, shapes.iter().map(|shape| shape.iter().product::<u64>()).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with two tensors, of 12 and of 5 numbers.
    fn write(folder: &Path) {
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]},"b":{"dtype":"F32","shape":[5],"data_offsets":[48,68]}}"#;
        let mut weights = (header.len() as u64).to_le_bytes().to_vec();
        weights.extend(header.bytes());
        weights.extend([0; 68]);
        fs::write(folder.join("model.safetensors"), weights).unwrap();
        fs::write(folder.join("config.json"), r#"{"model_type":"qwen3"}"#).unwrap();
        fs::write(folder.join(TOKENIZER), "{}").unwrap();
        fs::write(folder.join("tokenizer_config.json"), "{}").unwrap();
    }

    #[test]
    fn a_whole_folder_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let found = ModelFolder::inspect(folder.path()).unwrap();
        assert_eq!((found.kind.as_str(), found.weight_files, found.parameters), ("qwen3", 1, 17));
    }

    #[test]
    fn a_vocabulary_is_counted_with_its_special_tokens_each_once() {
        let folder = tempfile::tempdir().unwrap();
        for vocabulary in [r#"{"a":0,"b":1}"#, r#"[["a",-1.5],["b",-2]]"#] {
            let added = r#"[{"id":1,"content":"b"},{"id":2,"content":"<end>"}]"#;
            let tokenizer = format!(r#"{{"added_tokens":{added},"model":{{"vocab":{vocabulary},"merges":[]}}}}"#);
            fs::write(folder.path().join(TOKENIZER), tokenizer).unwrap();
            assert_eq!(vocabulary_size(folder.path()).unwrap(), 3, "{vocabulary}");
        }
        fs::write(folder.path().join(TOKENIZER), "{").unwrap();
        let error = vocabulary_size(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: EOF while parsing", folder.path().join(TOKENIZER).display())), "{error}");
    }

    #[test]
    fn counts_read_as_words() {
        for (count, words) in [(459_776, "460 thousand"), (1_720_000_000, "1.7 billion"), (596_049_920, "596.0 million")] {
            assert_eq!(in_words(count), words);
        }
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
