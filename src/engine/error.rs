//! The engine's errors.

use std::path::PathBuf;

/// Why the engine cannot load a model or answer a request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// A file of the model folder is missing or unreadable.
    #[error("{}: {reason}", path.display())]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The prefix cache's folder cannot be used.
    #[error("{}: {reason}", path.display())]
    CacheFolder {
        /// The folder, or the file in it.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The request can never be answered: it is too long, names an unknown tool, has a schema that does not compile, …
    #[error("{0}")]
    Request(String),
    /// The request cannot be answered now: active answers take the memory that it needs.
    #[error("{0}")]
    Overloaded(String),
    /// A warm-up was given up: the cache was cleared, or another warm-up was asked for.
    #[error("the cache was cleared, or another warm-up took its place")]
    WarmUpStopped,
    /// An answer must follow a schema, and cannot go on: its grammar has grown too large.
    #[error("the answer's grammar: {0}")]
    Grammar(String),
    /// MLX failed, or the device's thread is gone.
    #[error("engine: {0}")]
    Device(String),
}

impl From<mlx_rs::error::Exception> for EngineError {
    fn from(exception: mlx_rs::error::Exception) -> Self {
        Self::Device(exception.what().to_string())
    }
}
