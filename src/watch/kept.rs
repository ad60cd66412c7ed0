//! What was made of files, held as long as the files stay as they are.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::folder::modified;

/// When a file was changed last, and its length in bytes: another one when the file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp(SystemTime, u64);

impl Stamp {
    /// Of this file.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self(modified(&metadata), metadata.len()))
    }
}

/// What was made of some files. Of too many, none is held.
#[derive(Debug)]
pub(super) struct Kept<T> {
    most: usize,
    held: Mutex<HashMap<PathBuf, (Stamp, Arc<T>)>>,
}

impl<T> Kept<T> {
    /// Of so many files at most.
    pub(super) fn of_most(most: usize) -> Self {
        Self { most, held: Mutex::default() }
    }

    /// What was made of the file while it had this stamp.
    pub(super) fn get(&self, path: &Path, stamp: Stamp) -> Option<Arc<T>> {
        self.held().get(path).filter(|(held, _)| *held == stamp).map(|(_, made)| made.clone())
    }

    /// Holds what was made of the file, which had this stamp before it was read.
    pub(super) fn keep(&self, path: &Path, stamp: Stamp, made: T) -> Arc<T> {
        let made = Arc::new(made);
        let mut held = self.held();
        if held.len() >= self.most && !held.contains_key(path) {
            held.clear();
        }
        held.insert(path.to_owned(), (stamp, made.clone()));
        made
    }

    fn held(&self) -> MutexGuard<'_, HashMap<PathBuf, (Stamp, Arc<T>)>> {
        // No change of it stops half way.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_of_a_file_is_held_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::of_most(2);
        let file = folder.path().join("a");
        fs::write(&file, "1").unwrap();
        let stamp = Stamp::of(&file).unwrap();
        assert_eq!(kept.get(&file, stamp), None);
        kept.keep(&file, stamp, "one");
        assert_eq!(kept.get(&file, stamp).as_deref(), Some(&"one"));
        fs::write(&file, "12").unwrap();
        assert_eq!(kept.get(&file, Stamp::of(&file).unwrap()), None);
        for nth in 0..100 {
            kept.keep(&folder.path().join(nth.to_string()), stamp, "more");
            assert!(kept.held().len() <= 2);
        }
    }
}
