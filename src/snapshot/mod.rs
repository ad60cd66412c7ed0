//! `.snap` files in insta's format: reading, writing, diffing, accepting, rejecting.
//!
//! Owns the content of a snapshot ([`Outcome`]), its file ([`Snapshot`]), the folder of snapshots ([`Store`]) and the diff of two
//! outcomes ([`diff()`]). Knows nothing of backends, and not how an outcome came about.

mod diff;
mod file;
mod outcome;
mod store;

pub use diff::{Side, diff};
pub use file::{Info, Metadata, Snapshot};
pub use outcome::{Outcome, ToolUse};
pub use store::{ExchangeId, Store, accept, read_pending, reject};

use std::path::PathBuf;

/// Why a snapshot cannot be read, written or named.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file or its folder cannot be read or written.
    #[error("cannot use {}: {source}; check the path, its permissions and the free space", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// The file is not a snapshot.
    #[error("{}: {reason}; delete it and replay again, or restore it from version control", path.display())]
    Format { path: PathBuf, reason: String },
    /// The name would leave the snapshots folder.
    #[error("session {session:?} cannot name a snapshot: it must be one plain file name")]
    Session { session: String },
}
