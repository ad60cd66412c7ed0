//! What can go wrong in the engine.

use std::path::PathBuf;

/// Why the engine cannot load a model or answer a request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// A file of the model folder is missing or unreadable.
    #[error("{}: {reason}", path.display())]
    ModelFile { path: PathBuf, reason: String },
    /// The folder for the prefix cache cannot be used.
    #[error("{}: {reason}", path.display())]
    CacheFolder { path: PathBuf, reason: String },
    /// The request cannot be answered as it is (too long, an unknown tool, a schema that does not compile).
    #[error("{0}")]
    Request(String),
    /// The request could be answered, but not now: the answers in work take the memory it needs.
    #[error("{0}")]
    Overloaded(String),
    /// A warm-up was given up: the cache was cleared, or another warm-up was asked for.
    #[error("the cache was cleared, or another warm-up took its place")]
    WarmUpStopped,
    /// MLX failed, or the engine's thread is gone.
    #[error("engine: {0}")]
    Device(String),
}

impl From<mlx_rs::error::Exception> for EngineError {
    fn from(exception: mlx_rs::error::Exception) -> Self {
        Self::Device(exception.what().to_string())
    }
}
