//! Why a snapshot cannot be read, written or named.

use std::path::PathBuf;

/// Why a snapshot cannot be read, written or named.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file or its folder cannot be read or written.
    #[error("cannot use {}: {source}; check the path, its permissions and the free space", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a snapshot.
    #[error("{}: {reason}; delete it and replay again, or restore it from version control", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong in it, and where.
        reason: String,
    },
    /// The name would leave the snapshots folder.
    #[error("{session:?} cannot name a snapshot: it must be one plain file name")]
    Session {
        /// The name.
        session: String,
    },
}
