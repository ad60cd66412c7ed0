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
    /// Nothing is pending there any more.
    #[error("{}: nothing is pending there any more; a replay or another review has removed it", path.display())]
    Gone {
        /// The pending file.
        path: PathBuf,
    },
    /// The file is not as the reviewer was shown it.
    #[error("{}: it changed since it was shown; review it again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The outcome has a call that no client can carry out.
    #[error("{}: the arguments of {tool} are no JSON object, and cannot be accepted; fix the backend's tool calls", path.display())]
    MalformedArguments {
        /// The pending file.
        path: PathBuf,
        /// The called tool.
        tool: String,
    },
    /// The name would leave the snapshots folder.
    #[error("{session:?} cannot name a snapshot: it must be one plain file name")]
    Session {
        /// The name.
        session: String,
    },
}
