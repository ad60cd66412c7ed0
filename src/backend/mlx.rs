//! The in-process MLX engine as a backend.

use std::path::Path;

use futures::future::BoxFuture;

use super::{Backend, BackendError, EventStream};
use crate::engine::EngineError;
use crate::wire::MessagesRequest;

/// How to load a model.
#[derive(Clone, Debug, Default)]
pub struct MlxOptions {}

/// (stub)
pub struct MlxBackend {}

impl MlxBackend {
    /// (stub)
    pub fn load(dir: &Path, _options: MlxOptions) -> Result<Self, EngineError> {
        Err(EngineError::ModelFile { path: dir.into(), reason: "the engine is not built yet".into() })
    }
}

impl Backend for MlxBackend {
    fn name(&self) -> String {
        String::new()
    }

    fn model(&self) -> String {
        String::new()
    }

    fn messages(&self, _request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        unimplemented!()
    }

    fn count_tokens(&self, _request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        unimplemented!()
    }
}
