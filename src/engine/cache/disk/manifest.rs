//! Which model and program computed the segments of a folder. Segments of any other are never used.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::segment_file::SegmentId;
use crate::engine::model::ComputePath;
use crate::engine::{EngineError, mlx_version};
use crate::files::{Access, write_atomically};

/// Raised when the format of segment files changes its meaning.
const FORMAT: u32 = 1;

const NAME: &str = "manifest.json";

/// What computed the keys and values. Written beside the segments for people; the ids in file names stand for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    /// The model folder's name. For people only: renaming the folder does not change the model.
    model: String,
    /// SHA-256 of config.json and of every weight file's name, length and CRC-32.
    weights: String,
    anyclaude: String,
    mlx: String,
    /// Operating system and architecture.
    platform: String,
    /// The CPU path computes in f32, the GPU path in the weights' precision.
    compute_path: ComputePath,
}

impl Manifest {
    /// The manifest of this program with a model folder and a compute path. Reads all weight files.
    pub(super) fn of(model: &Path, compute_path: ComputePath) -> Result<Self, EngineError> {
        let name = model.canonicalize().unwrap_or_else(|_| model.into());
        let error = |error: io::Error| EngineError::ModelFile { path: model.into(), reason: error.to_string() };
        Ok(Self {
            format: FORMAT,
            model: name.file_name().unwrap_or(name.as_os_str()).to_string_lossy().into_owned(),
            weights: weights(model).map_err(error)?,
            anyclaude: env!("CARGO_PKG_VERSION").into(),
            mlx: mlx_version(),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            compute_path,
        })
    }

    /// The id that the first segment of every prompt continues.
    pub(super) fn root(&self) -> SegmentId {
        let Self { format, model: _, weights, anyclaude, mlx, platform, compute_path } = self;
        let path = compute_path.name();
        SegmentId::root(&format!("{format}\n{weights}\n{anyclaude}\n{mlx}\n{platform}\n{path}"))
    }

    /// Reads a folder's manifest; `None` if it is missing or unreadable.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(NAME)).ok()?).ok()
    }

    /// Writes it into a folder, complete or not at all.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        write_atomically(&folder.join(NAME), &serde_json::to_vec_pretty(self)?, Access::Owner)
    }
}

/// See [`Manifest::weights`].
fn weights(model: &Path) -> io::Result<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(model)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort();
    let mut digest = Sha256::new().chain_update(fs::read(model.join("config.json"))?);
    for path in files {
        let (length, checksum) = checksum(&path)?;
        digest.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        digest.update(length.to_le_bytes());
        digest.update(checksum.to_le_bytes());
    }
    Ok(format!("{:x}", digest.finalize()))
}

/// A file's length and CRC-32.
fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let (mut file, mut buffer) = (File::open(path)?, vec![0; 1 << 20]);
    let (mut length, mut checksum) = (0, crc32fast::Hasher::new());
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((length, checksum.finalize())),
            read => {
                length += read as u64;
                checksum.update(&buffer[..read]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::damaged;
    use crate::engine::testing;

    #[test]
    fn a_damaged_manifest_is_none_or_another_models() {
        let (dir, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        testing::write_model(dir.path());
        let manifest = Manifest::of(dir.path(), ComputePath::Cpu).unwrap();
        manifest.write(folder.path()).unwrap();
        let bytes = fs::read(folder.path().join(NAME)).unwrap();
        for variant in damaged(&bytes).into_iter().filter(|variant| *variant != bytes) {
            fs::write(folder.path().join(NAME), &variant).unwrap();
            let read = Manifest::read(folder.path());
            // Spaces between values mean nothing: what is read as the same manifest must say the same.
            let says = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
            let same = read.as_ref() == Some(&manifest);
            assert_eq!(same, says(&variant) == says(&bytes), "{}", String::from_utf8_lossy(&variant));
        }
    }

    #[test]
    fn other_weights_or_another_configuration_are_another_model() {
        let dir = tempfile::tempdir().unwrap();
        testing::write_model(dir.path());
        let manifest = Manifest::of(dir.path(), ComputePath::Cpu).unwrap();
        assert_eq!(Manifest::of(dir.path(), ComputePath::Cpu).unwrap(), manifest);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(folder.path()), None);
        manifest.write(folder.path()).unwrap();
        assert_eq!(Manifest::read(folder.path()).as_ref(), Some(&manifest));
        for file in ["config.json", "model.safetensors"] {
            let path = dir.path().join(file);
            let mut bytes = fs::read(&path).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(&path, bytes).unwrap();
            let other = Manifest::of(dir.path(), ComputePath::Cpu).unwrap();
            assert!(other != manifest && other.root() != manifest.root(), "{file}");
        }
        let renamed = Manifest { model: "other".into(), ..manifest.clone() };
        assert_eq!(renamed.root(), manifest.root());
    }
}
