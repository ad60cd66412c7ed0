//! The model that is in this program: found wherever the program is, without a download.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::MlxBackend;
use crate::backend::EMBEDDED;
use crate::engine::{EngineError, EngineOptions};
use crate::files::{Access, write_atomically};

/// The model's files. The engine reads a folder, so they are written to one when the model is asked for.
const FILES: [(&str, &[u8]); 5] = [
    ("config.json", include_bytes!("../../../fixtures/models/tiny/config.json")),
    ("generation_config.json", include_bytes!("../../../fixtures/models/tiny/generation_config.json")),
    ("tokenizer_config.json", include_bytes!("../../../fixtures/models/tiny/tokenizer_config.json")),
    ("tokenizer.json", include_bytes!("../../../fixtures/models/tiny/tokenizer.json")),
    ("model.safetensors", include_bytes!("../../../fixtures/models/tiny/model.safetensors")),
];

/// The model in this program cannot be written to its folder.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}: the model in this program is written there; make room and allow it", .folder.display())]
pub(crate) struct NotUnpacked {
    folder: PathBuf,
    source: io::Error,
}

impl MlxBackend {
    /// Loads the model that is in this program, in memory alone. Blocks the thread until it is there.
    ///
    /// # Errors
    /// Its folder, below `~/.anyclaude/models`, cannot be written, or the device fails.
    pub fn embedded() -> Result<Self, EngineError> {
        let not_unpacked = |NotUnpacked { folder, source }| EngineError::ModelFile { path: folder, reason: source.to_string() };
        Self::load(&folder().map_err(not_unpacked)?, EngineOptions::default())
    }
}

/// The model's folder. Another version of this program has another folder, so that they do not write over each other's model.
///
/// # Errors
/// It cannot be written.
pub(crate) fn folder() -> Result<PathBuf, NotUnpacked> {
    // Without a home, the working folder is the next best place.
    let home = std::env::home_dir().unwrap_or_default();
    let folder = home.join(".anyclaude/models").join(fingerprint()).join(EMBEDDED);
    match unpack(&folder) {
        Ok(()) => Ok(folder),
        Err(source) => Err(NotUnpacked { folder, source }),
    }
}

fn fingerprint() -> String {
    let mut hash = Sha256::new();
    FILES.iter().for_each(|(_, content)| hash.update(content));
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the files that are not there yet.
fn unpack(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, content) in FILES {
        let path = folder.join(name);
        if fs::metadata(&path).is_ok_and(|there| there.len() == content.len() as u64) {
            continue;
        }
        write_atomically(&path, content, Access::Everyone)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_the_model_are_in_the_program() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), "cut").unwrap();
        unpack(folder.path()).unwrap();
        let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/tiny");
        for entry in fs::read_dir(original).unwrap().map(Result::unwrap) {
            let name = entry.file_name();
            // The card, and what the template in tokenizer_config.json is made from.
            let is_source = name == "README.md" || name == "template.jinja";
            if entry.path().is_file() && !is_source {
                assert!(fs::read(entry.path()).unwrap() == fs::read(folder.path().join(&name)).unwrap(), "{name:?}");
            }
        }
    }
}
