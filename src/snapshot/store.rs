//! The folder of snapshots: its file names, accepted and pending files, accepting and rejecting.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::pending_file::remove;
use super::{Snapshot, SnapshotError};

/// The one name of an exchange: of its trace, its snapshot and its results. It is that of the trace's folder and file, shown as
/// `read-file/0001`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String")]
pub struct ExchangeId {
    session: String,
    exchange: String,
}

impl ExchangeId {
    /// The name of exchange `0001` of session `read-file`.
    ///
    /// # Errors
    /// One of them is not a plain file name.
    pub fn new(session: &str, exchange: &str) -> Result<Self, SnapshotError> {
        for name in [session, exchange] {
            let mut components = Path::new(name).components();
            let is_plain = match (components.next(), components.next()) {
                (Some(Component::Normal(component)), None) => component == name && !name.contains('\\'),
                _ => false,
            };
            if !is_plain {
                return Err(SnapshotError::Session { session: name.into() });
            }
        }
        Ok(Self { session: session.into(), exchange: exchange.into() })
    }

    /// The name of the exchange in this trace file. A file whose path has no folder is of the session `session`.
    ///
    /// # Errors
    /// Folder and file have no plain names.
    pub fn of_trace(path: &Path, session: &str) -> Result<Self, SnapshotError> {
        let name = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let file = name(path.file_name());
        let exchange = [".json.zst", ".json"].iter().find_map(|suffix| file.strip_suffix(suffix)).unwrap_or(&file);
        let folder = path.parent().map(|folder| name(folder.file_name())).filter(|folder| !folder.is_empty());
        Self::new(folder.as_deref().unwrap_or(session), exchange)
    }

    /// The session's name.
    pub fn session(&self) -> &str {
        &self.session
    }
}

impl std::fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}/{}", self.session, self.exchange)
    }
}

impl Serialize for ExchangeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Accepted snapshots whose trace is gone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unreferenced {
    /// Their paths, sorted by name.
    pub paths: Vec<PathBuf>,
    /// Why the traces may be somewhere else, and not gone: this may be the wrong folder.
    pub doubt: Option<String>,
}

/// A folder of snapshots.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The snapshots in this folder, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where the accepted snapshot is, or would be.
    pub fn accepted_path(&self, id: &ExchangeId) -> PathBuf {
        self.folder.join(format!("{}__{}.snap", id.session, id.exchange))
    }

    /// Where the pending snapshot is, or would be.
    pub fn pending_path(&self, id: &ExchangeId) -> PathBuf {
        self.folder.join(format!("{}__{}.snap.new", id.session, id.exchange))
    }

    /// The accepted snapshot; `None` if there is none yet.
    pub fn accepted(&self, id: &ExchangeId) -> Result<Option<Snapshot>, SnapshotError> {
        Snapshot::read(&self.accepted_path(id))
    }

    /// Writes a pending snapshot for review.
    pub fn write_pending(&self, id: &ExchangeId, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        snapshot.write(&self.pending_path(id))
    }

    /// Removes the pending snapshot, if there is one.
    pub fn remove_pending(&self, id: &ExchangeId) -> Result<(), SnapshotError> {
        remove(&self.pending_path(id))
    }

    /// Writes an accepted snapshot and removes the pending one.
    pub fn write_accepted(&self, id: &ExchangeId, snapshot: Snapshot) -> Result<(), SnapshotError> {
        let Snapshot { metadata, outcome, alternatives } = snapshot;
        Snapshot { metadata: metadata.trimmed(), outcome, alternatives }.write(&self.accepted_path(id))?;
        self.remove_pending(id)
    }

    /// All pending files, sorted by name.
    pub fn pending(&self) -> Result<Vec<PathBuf>, SnapshotError> {
        self.files_ending_with(".snap.new")
    }

    /// Accepted snapshots whose trace is gone, sorted by name. Relative trace paths start at `root`.
    pub fn unreferenced(&self, root: &Path) -> Result<Unreferenced, SnapshotError> {
        let mut unreferenced = Unreferenced::default();
        let mut traces_found = 0;
        for path in self.files_ending_with(".snap")? {
            let trace = Snapshot::read(&path)?.and_then(|snapshot| snapshot.metadata.input_file).map(|trace| root.join(trace));
            if trace.as_ref().is_some_and(|trace| trace.exists()) {
                traces_found += 1;
                continue;
            }
            // The folder of all sessions: traces/ of traces/read-file/0001.json.
            let of_traces = trace.as_deref().and_then(Path::parent).and_then(Path::parent);
            let is_lost = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
            if unreferenced.doubt.is_none() {
                let lost = of_traces.filter(is_lost);
                unreferenced.doubt = lost.map(|folder| format!("there is no folder {} here", folder.display()));
            }
            unreferenced.paths.push(path);
        }
        if traces_found == 0 && !unreferenced.paths.is_empty() && unreferenced.doubt.is_none() {
            unreferenced.doubt = Some("not one of the snapshots has its trace here".into());
        }
        Ok(unreferenced)
    }

    /// Accepted snapshots of traces that lay under one of these paths and are gone, sorted by name. Relative paths start where
    /// the program does. Files that are no snapshots of ours do not count.
    pub fn without_trace(&self, roots: &[PathBuf]) -> Result<Vec<PathBuf>, SnapshotError> {
        let plain = |path: &Path| path.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>();
        let roots: Vec<PathBuf> = roots.iter().map(|root| plain(root)).collect();
        let lay_there = |trace: &Path| roots.iter().any(|root| plain(trace).starts_with(root));
        let mut found = self.files_ending_with(".snap")?;
        found.retain(|path| {
            let trace = Snapshot::read(path).ok().flatten().and_then(|snapshot| snapshot.metadata.input_file);
            trace.is_some_and(|trace| lay_there(Path::new(&trace)) && !Path::new(&trace).exists())
        });
        Ok(found)
    }

    fn files_ending_with(&self, suffix: &str) -> Result<Vec<PathBuf>, SnapshotError> {
        let failed = |source| SnapshotError::Io { path: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(suffix)) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}

/// The name of the exchange that a pending file is of, such as `read-file/0001`.
pub fn pending_name(pending: &Path) -> String {
    let name = pending.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".snap.new").unwrap_or(&name);
    name.rsplit_once("__").map_or_else(|| name.to_owned(), |(session, exchange)| format!("{session}/{exchange}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Metadata, Outcome};

    fn snapshot(trace: &str) -> Snapshot {
        let metadata = Metadata { expression: Some("cold".into()), input_file: Some(trace.into()), ..Metadata::default() };
        Snapshot { metadata, outcome: Outcome { stop_reason: None, tool_use: Vec::new() }, alternatives: Vec::new() }
    }

    #[test]
    fn a_snapshot_is_named_after_the_trace() {
        let store = Store::new("snapshots");
        for (path, name, file) in [
            ("traces/demo/0007.json", "demo/0007", "demo__0007.snap"),
            ("/traces/demo/0007.json.zst", "demo/0007", "demo__0007.snap"),
            ("demo/of mine.json", "demo/of mine", "demo__of mine.snap"),
            ("0007.json", "session/0007", "session__0007.snap"),
        ] {
            let id = ExchangeId::of_trace(Path::new(path), "session").unwrap();
            assert_eq!((id.to_string().as_str(), store.accepted_path(&id)), (name, Path::new("snapshots").join(file)));
            assert_eq!(store.pending_path(&id), Path::new("snapshots").join(format!("{file}.new")));
        }
    }

    #[test]
    fn a_session_cannot_leave_the_folder() {
        for session in ["", ".", "..", "../x", "a/b", "/etc", "a/", "a\\b"] {
            assert!(ExchangeId::new(session, "0001").is_err(), "{session:?}");
            assert!(ExchangeId::new("demo", session).is_err(), "{session:?}");
        }
    }

    #[test]
    fn a_snapshot_without_its_trace_is_unreferenced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("001.json"), "").unwrap();
        let store = Store::new(folder.path().join("snapshots"));
        assert_eq!(store.unreferenced(folder.path()).unwrap(), Unreferenced::default());
        store.write_accepted(&ExchangeId::new("kept", "0001").unwrap(), snapshot("001.json")).unwrap();
        let gone = ExchangeId::new("gone", "0001").unwrap();
        store.write_accepted(&gone, snapshot("002.json")).unwrap();
        let unreferenced = Unreferenced { paths: vec![store.accepted_path(&gone)], doubt: None };
        assert_eq!(store.unreferenced(folder.path()).unwrap(), unreferenced);
    }

    #[test]
    fn traces_that_are_all_gone_may_be_somewhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("snapshots"));
        let doubt = || store.unreferenced(folder.path()).unwrap().doubt.unwrap_or_default();
        store.write_accepted(&ExchangeId::new("demo", "0001").unwrap(), snapshot("001.json")).unwrap();
        assert_eq!(doubt(), "not one of the snapshots has its trace here");
        // One trace is there, and another one's folder is not.
        fs::write(folder.path().join("001.json"), "").unwrap();
        store.write_accepted(&ExchangeId::new("demo", "0002").unwrap(), snapshot("traces/demo/0002.json")).unwrap();
        assert!(doubt().ends_with("traces here"), "{}", doubt());
        fs::create_dir(folder.path().join("traces")).unwrap();
        assert_eq!(doubt(), "");
    }
}
