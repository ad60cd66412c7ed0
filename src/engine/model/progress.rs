//! Progress of loading a model, and the callback that receives it.

use std::fmt;
use std::sync::Arc;

/// How much of a model is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadProgress {
    /// Bytes of tensors read so far.
    pub read: u64,
    /// Bytes of all tensors in the files.
    pub total: u64,
    /// Bytes that all weights take in memory once loaded: more than `total` if they are converted to f32, or from mxfp4.
    pub memory: u64,
}

/// A callback on the thread that loads; by default it does nothing.
#[derive(Clone)]
pub struct LoadListener(Arc<dyn Fn(LoadProgress) + Send + Sync>);

impl LoadListener {
    /// Wraps a function. It is first called before anything is read.
    pub fn new(tell: impl Fn(LoadProgress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Calls the function.
    pub fn tell(&self, progress: LoadProgress) {
        (self.0)(progress);
    }
}

impl Default for LoadListener {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for LoadListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoadListener")
    }
}
