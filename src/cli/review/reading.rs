//! The pending files, read once: what a reviewer is shown is what is decided about.

use std::path::PathBuf;

use crate::review::PendingOutcome;
use crate::snapshot::{Matching, PendingFile, SnapshotError};

/// A pending file, and what it holds if it can be read.
pub(super) struct Pending {
    pub path: PathBuf,
    pub read: Result<Readable, SnapshotError>,
}

/// A pending file as it was read, and how it compares with what is accepted.
pub(super) struct Readable {
    pub file: PendingFile,
    pub outcome: PendingOutcome,
}

/// Reads the pending files. One that is broken is no reason not to review the others.
pub(super) fn read_all(paths: &[PathBuf], matching: &Matching) -> Vec<Pending> {
    let read = |path: &PathBuf| {
        let file = PendingFile::read(path)?;
        let outcome = PendingOutcome::of(&file, matching)?;
        Ok(Readable { file, outcome })
    };
    paths.iter().map(|path| Pending { path: path.clone(), read: read(path) }).collect()
}
