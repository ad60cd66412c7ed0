//! Why the settings cannot be loaded.

use std::io::ErrorKind;
use std::path::PathBuf;

/// Why the settings cannot be loaded. Every message names the place.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A configuration file exists and cannot be read.
    #[error("cannot read {}: {source}; {}", .path.display(), next_step(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A configuration file is not valid.
    #[error("{}:{line}:{column}: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// From 1 on.
        line: usize,
        /// In bytes, from 1 on.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A variable of the environment is not valid.
    #[error("{variable}: {reason}")]
    Environment {
        /// Its name.
        variable: String,
        /// What is wrong with its value.
        reason: String,
    },
}

/// What helps where a file cannot be read.
fn next_step(source: &std::io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::FileTooLarge => {
            "move it away, or put a file of settings there"
        }
        _ => "check its permissions",
    }
}
