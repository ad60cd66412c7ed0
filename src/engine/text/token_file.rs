//! A file that caches the tokens of long texts, so that a new process need not tokenize them again.
//!
//! Records are appended. Each has a key, the SHA-256 of tokenizer and text, and a checksum. Opening the file truncates it at the
//! first damaged or half-written record, such as a killed process leaves. A file that would grow beyond its bound is replaced by
//! one with what was used last: half as much at most, so that this is seldom.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::recent_tokens::RecentTokens;
use crate::engine::{EngineError, cache_folder};
use crate::files::{Access, write_atomically};

const NAME: &str = "tokens";

/// Texts shorter than this, in bytes, are not cached: tokenizing them is cheap.
const LONG: usize = 2048;

type Key = [u8; 32];

/// A text's key and its tokens.
type Record = (Key, Arc<[u32]>);

/// The cached tokens of long texts, in memory and in the file.
pub struct KeptTokens {
    /// The hash state after the tokenizer's file, to which a text is added for its key.
    tokenizer: Sha256,
    kept: Mutex<OpenTokenFile>,
}

/// The open file, and in memory what was used last of all that was in it: as much as it holds.
struct OpenTokenFile {
    path: PathBuf,
    file: File,
    /// Most bytes of the file.
    most: u64,
    recent: RecentTokens,
}

impl KeptTokens {
    /// Opens the token file in `folder`, which is created if needed. `model` is the folder with `tokenizer.json`. The file has
    /// `most` bytes at most; while it is replaced there is another, half as large.
    ///
    /// # Errors
    /// `tokenizer.json` or the token file cannot be read, or the folder cannot be written to.
    pub fn open(folder: &Path, model: &Path, most: u64) -> Result<Self, EngineError> {
        let error = |error: io::Error| EngineError::CacheFolder { path: folder.into(), reason: error.to_string() };
        cache_folder::take(folder)?;
        let tokenizer = Sha256::new().chain_update(fs::read(model.join("tokenizer.json")).map_err(error)?);
        let kept = OpenTokenFile::open(folder.join(NAME), most).map_err(error)?;
        Ok(Self { tokenizer, kept: Mutex::new(kept) })
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
        if let Some(tokens) = self.kept().recent.get(&key) {
            return Ok(tokens);
        }
        let tokens: Arc<[u32]> = encode()?.into();
        self.kept().keep(&key, tokens.clone());
        Ok(tokens)
    }

    fn kept(&self) -> MutexGuard<'_, OpenTokenFile> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenTokenFile {
    fn open(path: PathBuf, most: u64) -> io::Result<Self> {
        let file = cache_folder::open_to_append(&path)?;
        let length = file.metadata()?.len();
        let mut bytes = Vec::new();
        (&file).take(most).read_to_end(&mut bytes)?;
        let (records, whole) = records(&bytes);
        if (whole as u64) < length {
            tracing::warn!(file = %path.display(), bytes = length - whole as u64, "dropped what is damaged, half written or too much");
            file.set_len(whole as u64)?;
        }
        // In memory they take a little more.
        let mut recent = RecentTokens::new(usize::try_from(most + most / 8).unwrap_or(usize::MAX));
        records.into_iter().for_each(|(key, tokens)| recent.put(&key, tokens));
        Ok(Self { path, file, most, recent })
    }

    /// Adds a text's tokens. If the file cannot be written, memory still has them, for as long as this process lives.
    fn keep(&mut self, key: &Key, tokens: Arc<[u32]>) {
        let record = record(key, &tokens);
        self.recent.put(key, tokens);
        if let Err(error) = self.append(&record) {
            tracing::warn!(file = %self.path.display(), %error, "tokens cannot be kept on disk");
        }
    }

    fn append(&mut self, record: &[u8]) -> io::Result<()> {
        // The file's own length: other processes append too.
        if self.file.metadata()?.len() + record.len() as u64 <= self.most {
            return self.file.write_all(record);
        }
        // Without room for another file this one starts over.
        self.replace().or_else(|error| self.file.set_len(0).and(Err(error)))
    }

    /// Puts another file with what was used last in the place of this one.
    fn replace(&mut self) -> io::Result<()> {
        let mut records = Vec::new();
        let mut room = self.most / 2;
        for (key, tokens) in self.recent.last_used_first() {
            let record = record(key, tokens);
            let Some(left) = room.checked_sub(record.len() as u64) else { break };
            room = left;
            records.push(record);
        }
        records.reverse();
        write_atomically(&self.path, &records.concat(), Access::Owner)?;
        self.file = cache_folder::open_to_append(&self.path)?;
        Ok(())
    }
}

/// One record: the key (32 bytes), the number of tokens, the tokens, and a CRC-32 of everything before it; all
/// numbers are little-endian `u32`.
fn record(key: &[u8], tokens: &[u32]) -> Vec<u8> {
    let mut bytes = key.to_vec();
    bytes.extend((tokens.len() as u32).to_le_bytes());
    tokens.iter().for_each(|token| bytes.extend(token.to_le_bytes()));
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// All intact records up to the first damaged or incomplete one, and their total length in bytes.
fn records(bytes: &[u8]) -> (Vec<Record>, usize) {
    let (mut records, mut whole) = (Vec::new(), 0);
    while let Some((key, tokens, length)) = first_record(&bytes[whole..]) {
        records.push((key, tokens));
        whole += length;
    }
    (records, whole)
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
    use std::os::unix::fs::PermissionsExt;

    use super::super::tiny_model;
    use super::*;

    const ROOM: u64 = 1 << 20;

    fn never() -> Result<Vec<u32>, EngineError> {
        panic!("tokenized again")
    }

    fn text(name: &str) -> String {
        name.repeat(LONG)
    }

    #[test]
    fn long_texts_are_tokenized_once_and_short_ones_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let open = || KeptTokens::open(folder.path(), &tiny_model(), ROOM).unwrap();
        let kept = open();
        assert_eq!(*kept.of(&text("a"), || Ok(vec![1, 2])).unwrap(), [1, 2]);
        assert_eq!(*kept.of(&text("b"), || Ok(vec![3])).unwrap(), [3]);
        assert_eq!(*kept.of("short", || Ok(vec![4])).unwrap(), [4]);
        assert_eq!(*open().of("short", || Ok(vec![5])).unwrap(), [5]);
        assert_eq!((&*open().of(&text("a"), never).unwrap(), &*open().of(&text("b"), never).unwrap()), (&[1, 2][..], &[3][..]));
        // Another tokenizer has other tokens.
        let model = tempfile::tempdir().unwrap();
        std::fs::write(model.path().join("tokenizer.json"), "{}").unwrap();
        let other = KeptTokens::open(folder.path(), model.path(), ROOM).unwrap();
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
        let open = || KeptTokens::open(folder.path(), &tiny_model(), ROOM).unwrap();
        open().of(&text("a"), || Ok(vec![1, 2])).unwrap();
        let path = folder.path().join(NAME);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        open().of(&text("a"), || Ok(vec![1, 2])).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn however_many_texts_come_file_and_memory_keep_their_bounds_and_what_was_used_last() {
        let most = 20_000;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let open = || KeptTokens::open(folder.path(), &tiny_model(), most).unwrap();
        let kept = open();
        let tokens = |number: u32| vec![number; 100];
        let numbered = |number: u32| text(&format!("{number} "));
        for number in 0..300 {
            assert_eq!(*kept.of(&numbered(number), || Ok(tokens(number))).unwrap(), tokens(number));
            // It is used all the time, so it is always there.
            assert_eq!(*kept.of(&numbered(0), never).unwrap(), tokens(0));
            let file = std::fs::metadata(&path).unwrap();
            assert!(file.len() <= most && file.permissions().mode() & 0o777 == 0o600, "{}", file.len());
            assert!(kept.kept().recent.last_used_first().count() <= 50);
        }
        assert_eq!(*open().of(&numbered(0), never).unwrap(), tokens(0));
        assert_eq!(*open().of(&numbered(299), never).unwrap(), tokens(299));
        // More than all that is kept at all.
        assert_eq!(kept.of(&text("long"), || Ok(vec![1; 9_999])).unwrap().len(), 9_999);
        assert!(std::fs::metadata(&path).unwrap().len() <= most);
    }

    #[test]
    fn what_is_too_much_of_a_file_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let open = |most| KeptTokens::open(folder.path(), &tiny_model(), most).unwrap();
        for number in 0..20 {
            open(ROOM).of(&text(&format!("{number} ")), || Ok(vec![number; 100])).unwrap();
        }
        assert_eq!(*open(5_000).of(&text("10 "), never).unwrap(), vec![10; 100]);
        assert!(std::fs::metadata(folder.path().join(NAME)).unwrap().len() <= 5_000);
    }

    #[test]
    fn two_that_share_a_file_keep_its_bound() {
        let most = 20_000;
        let folder = tempfile::tempdir().unwrap();
        let both = [(); 2].map(|()| KeptTokens::open(folder.path(), &tiny_model(), most).unwrap());
        for number in 0..200 {
            both[number as usize % 2].of(&text(&format!("{number} ")), || Ok(vec![number; 100])).unwrap();
            assert!(std::fs::metadata(folder.path().join(NAME)).unwrap().len() <= most);
        }
        let third = KeptTokens::open(folder.path(), &tiny_model(), most).unwrap();
        assert!(third.kept().recent.last_used_first().count() > 10);
    }
}
