//! The fingerprints of a model folder: cheap, so that the start does not take longer where the weights have 17 GB.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::snapshot::ModelDigest;

/// How many places of a file are read.
const SAMPLES: u64 = 64;
/// How much is read at each of them, in bytes. A shorter file than all samples together is read whole.
const SAMPLE_BYTES: u64 = 4096;
/// Hexadecimal digits of a fingerprint.
const DIGITS: usize = 12;

/// The fingerprints of the model in this folder.
///
/// Weight files count with their names, their sizes, their beginnings, where the shapes are, and samples all over them: other
/// weights of the same shapes have other samples.
pub(crate) fn digest(folder: &Path) -> io::Result<ModelDigest> {
    let mut weights: Vec<PathBuf> =
        std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?.iter().map(|entry| entry.path()).collect();
    weights.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    weights.sort();
    weights.insert(0, folder.join("config.json"));
    let of = |names: &[&str]| fingerprint(&names.iter().map(|name| folder.join(name)).collect::<Vec<_>>());
    Ok(ModelDigest {
        weights: fingerprint(&weights)?,
        tokenizer: of(&["tokenizer.json"])?,
        template: of(&["chat_template.jinja", "chat_template.json", "tokenizer_config.json"])?,
    })
}

/// One fingerprint of several files. Those that do not exist do not count.
fn fingerprint(files: &[PathBuf]) -> io::Result<String> {
    let mut hash = Sha256::new();
    for path in files {
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            file => sample(path, file?, &mut hash)?,
        }
    }
    let mut digits = format!("{:x}", hash.finalize());
    digits.truncate(DIGITS);
    Ok(digits)
}

fn sample(path: &Path, mut file: File, hash: &mut Sha256) -> io::Result<()> {
    let bytes = file.metadata()?.len();
    hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
    hash.update(bytes.to_le_bytes());
    if bytes <= SAMPLES * SAMPLE_BYTES {
        io::copy(&mut file, hash)?;
        return Ok(());
    }
    let last = bytes - SAMPLE_BYTES;
    for nth in 0..SAMPLES {
        file.seek(SeekFrom::Start(last / (SAMPLES - 1) * nth))?;
        io::copy(&mut file.by_ref().take(SAMPLE_BYTES), hash)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_part_has_a_fingerprint_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let large = || vec![7_u8; 3_000_000];
        let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
        write("config.json", b"{}");
        write("model.safetensors", &large());
        write("tokenizer.json", b"{}");
        write("tokenizer_config.json", b"{}");
        let first = digest(folder.path()).unwrap();
        assert_eq!(digest(folder.path()).unwrap(), first);
        assert_eq!(first.weights.len(), DIGITS);
        write("chat_template.jinja", b"{{ messages }}");
        let with_template = digest(folder.path()).unwrap();
        assert!(with_template.template != first.template && with_template.weights == first.weights);
        // Noise that changes every weight a little, as quantizing anew would.
        write("model.safetensors", &large().iter().enumerate().map(|(at, byte)| byte + (at % 3) as u8).collect::<Vec<_>>());
        let noisy = digest(folder.path()).unwrap();
        assert!(noisy.weights != first.weights && noisy.tokenizer == first.tokenizer);
    }
}
