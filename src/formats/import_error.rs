//! Why an import ends.

use std::io;
use std::path::PathBuf;

use super::IMPORTERS;
use crate::trace::TraceError;

/// Why an import ended.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Nobody knows this format.
    #[error(
        "{}: no format that anyclaude knows; it reads {}. If it is one of these, say which with --from",
        .path.display(),
        known()
    )]
    #[allow(missing_docs, reason = "the text says what it is")]
    Unknown { path: PathBuf },
    /// A folder in place of a file.
    #[error("{path}: a folder; name its files, as in {path}/*.jsonl", path = .path.display())]
    #[allow(missing_docs, reason = "the text says what it is")]
    Folder { path: PathBuf },
    /// Several folders may be the one with the sessions.
    #[error("{}: more than one folder of Claude Code's; name the file to import", .pattern.display())]
    #[allow(missing_docs, reason = "the text says what it is")]
    Ambiguous { pattern: PathBuf },
    /// The file is not of the format that it should be.
    #[error("{}: {reason}", .path.display())]
    #[allow(missing_docs, reason = "the text says what it is")]
    Malformed { path: PathBuf, reason: String },
    /// The file that is open cannot be read on.
    #[error("cannot read on: {0}")]
    Read(#[from] io::Error),
    /// A file cannot be read.
    #[error("cannot read {}: {source}; check the path and its permissions", .path.display())]
    #[allow(missing_docs, reason = "the text says what it is")]
    Io { path: PathBuf, source: io::Error },
    /// The session is being recorded, or another import writes to it.
    #[error(
        "{}: a recorder or another import writes to it; choose another folder with --out, or wait until that has ended",
        .path.display()
    )]
    #[allow(missing_docs, reason = "the text says what it is")]
    InUse { path: PathBuf },
    /// A session's folder cannot be made or locked.
    #[error("cannot write to {}: {source}; check the folder and its permissions", .path.display())]
    #[allow(missing_docs, reason = "the text says what it is")]
    Unwritable { path: PathBuf, source: io::Error },
    /// Where a trace would be written lies another one.
    #[error(
        "{}: another exchange than the one to be imported; choose another folder with --out, or move it away",
        .path.display()
    )]
    #[allow(missing_docs, reason = "the text says what it is")]
    Occupied { path: PathBuf },
    /// anyclaude could not read the trace again.
    #[error("nested more deeply than a trace may be, or larger in memory")]
    Beyond,
    /// A trace cannot be written.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

fn known() -> String {
    let known = IMPORTERS.map(|importer| format!("{} ({})", importer.name(), importer.title()));
    known.join(", ")
}
