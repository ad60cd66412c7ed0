//! A file that caches the tokens of long texts, so that a new process need not tokenize them again.
//!
//! Records are only ever appended. Each has a key, the SHA-256 of tokenizer and text, and a checksum. Opening the
//! file truncates it at the first damaged or half-written record, such as a killed process leaves.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::engine::{EngineError, cache_folder};

const NAME: &str = "tokens";

/// Texts shorter than this, in bytes, are not cached: tokenizing them is cheap.
const LONG: usize = 2048;

/// A file larger than this, in bytes, is emptied when opened. It has room for a few thousand long prompts.
const LARGEST: u64 = 64 * 1024 * 1024;

type Key = [u8; 32];

/// The cached tokens of long texts, in memory and in the file.
pub struct KeptTokens {
    /// The hash state after the tokenizer's file, to which a text is added for its key.
    tokenizer: Sha256,
    path: PathBuf,
    kept: Mutex<OpenTokenFile>,
}

struct OpenTokenFile {
    file: File,
    known: HashMap<Key, Arc<[u32]>>,
}

impl KeptTokens {
    /// Opens the token file in `folder`, which is created if needed. `model` is the folder with `tokenizer.json`.
    ///
    /// # Errors
    /// `tokenizer.json` or the token file cannot be read, or the folder cannot be written to.
    pub fn open(folder: &Path, model: &Path) -> Result<Self, EngineError> {
        let error = |error: io::Error| EngineError::CacheFolder { path: folder.into(), reason: error.to_string() };
        cache_folder::take(folder)?;
        let tokenizer = Sha256::new().chain_update(fs::read(model.join("tokenizer.json")).map_err(error)?);
        let path = folder.join(NAME);
        let file = File::options().create(true).append(true).read(true).mode(0o600).open(&path).map_err(error)?;
        // One that an earlier version made may be readable by others.
        file.set_permissions(Permissions::from_mode(0o600)).map_err(error)?;
        let bytes = fs::read(&path).map_err(error)?;
        let (known, mut whole) = records(&bytes);
        if whole < bytes.len() {
            tracing::warn!(file = %path.display(), bytes = bytes.len() - whole, "dropped what is damaged or half written");
        }
        let mut kept = OpenTokenFile { file, known };
        if bytes.len() as u64 > LARGEST {
            (whole, kept.known) = (0, HashMap::new());
        }
        if whole < bytes.len() {
            kept.file.set_len(whole as u64).map_err(error)?;
        }
        Ok(Self { tokenizer, path, kept: Mutex::new(kept) })
    }

    /// The text's tokens: from the cache, or from `encode`, whose result is cached if the text is long.
    ///
    /// # Errors
    /// Those of `encode`. A failure to write the file is only logged.
    pub fn of(&self, text: &str, encode: impl FnOnce() -> Result<Vec<u32>, EngineError>) -> Result<Arc<[u32]>, EngineError> {
        if text.len() < LONG {
            return Ok(encode()?.into());
        }
        let key: Key = self.tokenizer.clone().chain_update(text).finalize().into();
        if let Some(tokens) = self.kept().known.get(&key) {
            return Ok(tokens.clone());
        }
        let tokens: Arc<[u32]> = encode()?.into();
        let mut kept = self.kept();
        if let Err(error) = kept.file.write_all(&record(&key, &tokens)) {
            // The tokens still go to the cache in memory, which lasts as long as this process.
            tracing::warn!(file = %self.path.display(), %error, "tokens cannot be kept on disk");
        }
        kept.known.insert(key, tokens.clone());
        Ok(tokens)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, OpenTokenFile> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One record: the key (32 bytes), the number of tokens, the tokens, and a CRC-32 of everything before it; all
/// numbers are little-endian `u32`.
fn record(key: &Key, tokens: &[u32]) -> Vec<u8> {
    let mut bytes = key.to_vec();
    bytes.extend((tokens.len() as u32).to_le_bytes());
    tokens.iter().for_each(|token| bytes.extend(token.to_le_bytes()));
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// All intact records up to the first damaged or incomplete one, and their total length in bytes.
fn records(bytes: &[u8]) -> (HashMap<Key, Arc<[u32]>>, usize) {
    let (mut known, mut whole) = (HashMap::new(), 0);
    while let Some((key, tokens, length)) = first_record(&bytes[whole..]) {
        known.insert(key, tokens);
        whole += length;
    }
    (known, whole)
}

/// The first record's key, tokens and length in bytes; `None` if it is damaged or incomplete.
fn first_record(bytes: &[u8]) -> Option<(Key, Arc<[u32]>, usize)> {
    let (key, rest) = bytes.split_first_chunk::<32>()?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let (tokens, rest) = rest.split_at_checked((u32::from_le_bytes(*count) as usize).checked_mul(4)?)?;
    let (checksum, _) = rest.split_first_chunk::<4>()?;
    let before = 32 + 4 + tokens.len();
    let sound = crc32fast::hash(&bytes[..before]) == u32::from_le_bytes(*checksum);
    let tokens = tokens.as_chunks::<4>().0.iter().map(|token| u32::from_le_bytes(*token));
    sound.then(|| (*key, tokens.collect(), before + 4))
}

#[cfg(test)]
mod tests {
    use super::super::tiny_model;
    use super::*;

    fn never() -> Result<Vec<u32>, EngineError> {
        panic!("tokenized again")
    }

    fn text(name: &str) -> String {
        name.repeat(LONG)
    }

    #[test]
    fn long_texts_are_tokenized_once_and_short_ones_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let open = || KeptTokens::open(folder.path(), &tiny_model()).unwrap();
        let kept = open();
        assert_eq!(*kept.of(&text("a"), || Ok(vec![1, 2])).unwrap(), [1, 2]);
        assert_eq!(*kept.of(&text("b"), || Ok(vec![3])).unwrap(), [3]);
        assert_eq!(*kept.of("short", || Ok(vec![4])).unwrap(), [4]);
        assert_eq!(*open().of("short", || Ok(vec![5])).unwrap(), [5]);
        assert_eq!((&*open().of(&text("a"), never).unwrap(), &*open().of(&text("b"), never).unwrap()), (&[1, 2][..], &[3][..]));
        // Another tokenizer has other tokens.
        let model = tempfile::tempdir().unwrap();
        std::fs::write(model.path().join("tokenizer.json"), "{}").unwrap();
        let other = KeptTokens::open(folder.path(), model.path()).unwrap();
        assert_eq!(*other.of(&text("a"), || Ok(vec![9])).unwrap(), [9]);
    }

    #[test]
    fn damage_anywhere_and_a_cut_anywhere_cost_what_comes_after() {
        let [first, second] = [record(&[1; 32], &[1, 2]), record(&[2; 32], &[3])];
        let whole = [&first[..], &second].concat();
        assert_eq!((records(&whole).0.len(), records(&whole).1), (2, whole.len()));
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let expected = if at < first.len() { 0 } else { first.len() };
            assert_eq!((records(&damaged).1, records(&whole[..at]).1), (expected, expected), "at {at}");
        }
    }

    #[test]
    fn what_is_half_written_is_cut_off_and_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let open = || KeptTokens::open(folder.path(), &tiny_model()).unwrap();
        open().of(&text("a"), || Ok(vec![1, 2])).unwrap();
        let path = folder.path().join(NAME);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        open().of(&text("a"), || Ok(vec![1, 2])).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}
