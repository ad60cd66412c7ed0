//! A pending snapshot's file with the accepted one beside it: read once, and decided about only as they were read.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::file::MOST;
use super::{Snapshot, SnapshotError};
use crate::files::read_bounded;

/// A pending file and the accepted one beside it, byte by byte as a reviewer was shown them.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingFile {
    path: PathBuf,
    pending: Vec<u8>,
    accepted: Option<Vec<u8>>,
}

impl PendingFile {
    /// Reads both files.
    ///
    /// # Errors
    /// One of them cannot be read, or nothing is pending.
    pub fn read(path: &Path) -> Result<Self, SnapshotError> {
        let pending = bytes(path)?.ok_or_else(|| SnapshotError::Gone { path: path.into() })?;
        Ok(Self { path: path.into(), pending, accepted: bytes(&path.with_extension(""))? })
    }

    /// The pending file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The accepted file's path.
    pub fn accepted_path(&self) -> PathBuf {
        self.path.with_extension("")
    }

    /// The pending snapshot.
    ///
    /// # Errors
    /// The file is not a snapshot.
    pub fn pending(&self) -> Result<Snapshot, SnapshotError> {
        parsed(&self.path, &self.pending)
    }

    /// The accepted snapshot, if there is one.
    ///
    /// # Errors
    /// The file is not a snapshot.
    pub fn accepted(&self) -> Result<Option<Snapshot>, SnapshotError> {
        self.accepted.as_ref().map(|bytes| parsed(&self.accepted_path(), bytes)).transpose()
    }

    /// Makes the pending snapshot the accepted one, without what only its reviewer needed. Returns the accepted file's path.
    ///
    /// # Errors
    /// A file is not as it was read, or cannot be written.
    pub fn accept(&self) -> Result<PathBuf, SnapshotError> {
        self.check_unchanged()?;
        let Snapshot { metadata, outcome, alternatives } = self.acceptable()?;
        self.replace_accepted(&Snapshot { metadata: metadata.trimmed(), outcome, alternatives })
    }

    /// Accepts the pending outcome beside those that are accepted already. Returns the accepted file's path.
    ///
    /// # Errors
    /// A file is not as it was read, or cannot be written.
    pub fn accept_beside(&self) -> Result<PathBuf, SnapshotError> {
        let Some(mut snapshot) = self.accepted()? else { return self.accept() };
        self.check_unchanged()?;
        let outcome = self.acceptable()?.outcome;
        if snapshot.accepted().any(|known| *known == outcome) {
            remove(&self.path)?;
            return Ok(self.accepted_path());
        }
        snapshot.alternatives.push(outcome);
        self.replace_accepted(&snapshot)
    }

    /// Removes the pending snapshot. The accepted one stays.
    ///
    /// # Errors
    /// A file is not as it was read, or cannot be removed.
    pub fn reject(&self) -> Result<(), SnapshotError> {
        self.check_unchanged()?;
        remove(&self.path)
    }

    /// The pending snapshot, if it may be accepted at all.
    fn acceptable(&self) -> Result<Snapshot, SnapshotError> {
        let snapshot = self.pending()?;
        match snapshot.outcome.malformed_call() {
            Some(call) => Err(SnapshotError::MalformedArguments { path: self.path.clone(), tool: call.name.clone() }),
            None => Ok(snapshot),
        }
    }

    fn replace_accepted(&self, snapshot: &Snapshot) -> Result<PathBuf, SnapshotError> {
        let accepted = self.accepted_path();
        snapshot.write(&accepted)?;
        remove(&self.path)?;
        Ok(accepted)
    }

    /// What was decided is about what was read: a replay or another review may have been here since.
    fn check_unchanged(&self) -> Result<(), SnapshotError> {
        let now = Self::read(&self.path)?;
        match (now.pending == self.pending, now.accepted == self.accepted) {
            (true, true) => Ok(()),
            (false, _) => Err(SnapshotError::Changed { path: self.path.clone() }),
            (true, false) => Err(SnapshotError::Changed { path: self.accepted_path() }),
        }
    }
}

fn bytes(path: &Path) -> Result<Option<Vec<u8>>, SnapshotError> {
    match read_bounded(path, MOST) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SnapshotError::Io { path: path.into(), source }),
    }
}

fn parsed(path: &Path, bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
    let failed = |reason: String| SnapshotError::Format { path: path.into(), reason };
    let text = std::str::from_utf8(bytes).map_err(|error| failed(format!("it is not UTF-8: {error}")))?;
    Snapshot::parse(text).map_err(failed)
}

/// Removes a file, which need not be there.
pub(super) fn remove(path: &Path) -> Result<(), SnapshotError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(SnapshotError::Io { path: path.into(), source }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{ExchangeId, Metadata, Outcome, Store, ToolUse};
    use crate::wire::StopReason;
    use serde_json::json;

    fn snapshot(command: &str) -> Snapshot {
        let metadata = Metadata { expression: Some("cold".into()), input_file: Some("t".into()), ..Metadata::default() };
        let call = ToolUse { name: "Bash".into(), input: json!({"command": command}) };
        Snapshot { metadata, outcome: Outcome { stop_reason: None, tool_use: vec![call] }, alternatives: Vec::new() }
    }

    /// A folder in which nothing is yet, and the name of an exchange.
    fn store() -> (tempfile::TempDir, Store, ExchangeId) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        (folder, store, ExchangeId::new("demo", "0001").unwrap())
    }

    fn names_in(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn accepting_moves_the_pending_file_and_trims_it() {
        let (folder, store, id) = store();
        store.write_pending(&id, &snapshot("ls")).unwrap();
        let pending = store.pending().unwrap();
        assert_eq!(pending, [store.pending_path(&id)]);
        assert_eq!(PendingFile::read(&pending[0]).unwrap().accept().unwrap(), store.accepted_path(&id));
        assert_eq!(names_in(folder.path()), ["demo__0001.snap"]);
        assert_eq!(store.accepted(&id).unwrap().unwrap().metadata.expression, None);
    }

    #[test]
    fn accepting_beside_keeps_what_is_accepted() {
        let (folder, store, id) = store();
        let add = |command: &str| {
            store.write_pending(&id, &snapshot(command)).unwrap();
            PendingFile::read(&store.pending_path(&id)).unwrap().accept_beside().unwrap();
            store.accepted(&id).unwrap().unwrap().alternatives
        };
        assert_eq!(add("ls"), []);
        for _ in 0..2 {
            assert_eq!(add("pwd"), [snapshot("pwd").outcome]);
        }
        assert_eq!(names_in(folder.path()), ["demo__0001.snap"]);
    }

    #[test]
    fn rejecting_leaves_the_accepted_file() {
        let (folder, store, id) = store();
        store.write_accepted(&id, snapshot("ls")).unwrap();
        store.write_pending(&id, &snapshot("pwd")).unwrap();
        PendingFile::read(&store.pending_path(&id)).unwrap().reject().unwrap();
        assert_eq!(names_in(folder.path()), ["demo__0001.snap"]);
    }

    #[test]
    fn malformed_arguments_cannot_be_accepted() {
        let (folder, store, id) = store();
        let call = ToolUse { name: "Bash".into(), input: json!("{\"command\": ") };
        let cut = Outcome { stop_reason: Some(StopReason::MaxTokens), tool_use: vec![call.clone()] };
        let whole = Outcome { stop_reason: Some(StopReason::ToolUse), tool_use: vec![call] };
        for (outcome, is_malformed) in [(whole, true), (cut, false)] {
            store.write_pending(&id, &Snapshot { outcome, ..snapshot("ls") }).unwrap();
            let file = PendingFile::read(&store.pending_path(&id)).unwrap();
            assert_eq!(file.accept_beside().is_err(), is_malformed);
            let left = if is_malformed { "demo__0001.snap.new" } else { "demo__0001.snap" };
            assert_eq!(names_in(folder.path()), [left]);
        }
    }

    #[test]
    fn what_is_not_as_it_was_read_is_left() {
        let (folder, store, id) = store();
        let (pending, accepted) = (store.pending_path(&id), store.accepted_path(&id));
        let shown = || {
            snapshot("ls").write(&accepted).unwrap();
            store.write_pending(&id, &snapshot("pwd")).unwrap();
            PendingFile::read(&pending).unwrap()
        };
        let refuses = |file: &PendingFile, word: &str| {
            let refusals = [file.accept().map(drop), file.accept_beside().map(drop), file.reject()];
            for refusal in refusals {
                let said = refusal.unwrap_err().to_string();
                assert!(said.contains(word), "{said}");
            }
        };
        let file = shown();
        snapshot("rm -rf /").write(&pending).unwrap();
        refuses(&file, "demo__0001.snap.new: it changed");
        assert_eq!(store.accepted(&id).unwrap(), Some(snapshot("ls")));
        let file = shown();
        snapshot("cat").write(&accepted).unwrap();
        refuses(&file, "demo__0001.snap: it changed");
        let file = shown();
        fs::remove_file(&pending).unwrap();
        refuses(&file, "nothing is pending");
        assert_eq!(names_in(folder.path()), ["demo__0001.snap"]);
    }
}
