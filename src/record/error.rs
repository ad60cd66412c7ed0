//! Why the recorder cannot start.

use std::io;
use std::path::PathBuf;

/// Why the recorder cannot start.
#[allow(missing_docs, reason = "each variant's text says what it is")]
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("{given}: {reason}; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081")]
    Upstream { given: String, reason: String },
    #[error("{first} and {second} have the same prefix; give each upstream one of its own")]
    SamePrefix { first: String, second: String },
    #[error("{}: {reason}; give a PEM file, whose certificates begin with -----BEGIN CERTIFICATE-----", .file.display())]
    Authorities { file: PathBuf, reason: String },
    #[error("{name}: it becomes a folder's name, so use letters, digits, '-', '_' and '.' only")]
    SessionName { name: String },
    #[error("port {port} on 127.0.0.1 is in use")]
    PortInUse { port: u16 },
    #[error("cannot listen on 127.0.0.1:{port}: {source}")]
    Bind { port: u16, source: io::Error },
    #[error("cannot write to {}: {source}", .folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("another recorder writes to {}", .folder.display())]
    InUse { folder: PathBuf },
    #[error("cannot set up the HTTP client: {0}; check the machine's TLS certificates and proxy settings")]
    Client(#[from] reqwest::Error),
    #[error("cannot start the thread that writes traces: {0}; is the machine's limit of threads reached?")]
    Thread(io::Error),
}
