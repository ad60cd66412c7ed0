//! Why the settings cannot be loaded.

use std::path::PathBuf;

/// Why the settings cannot be loaded. Every message names the place.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A configuration file exists and cannot be read.
    #[error("cannot read {}: {source}; check its permissions", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// A configuration file is not valid.
    #[error("{}:{line}:{column}: {reason}", .path.display())]
    File { path: PathBuf, line: usize, column: usize, reason: String },
    /// A variable of the environment is not valid.
    #[error("{variable}: {reason}")]
    Environment { variable: String, reason: String },
}
