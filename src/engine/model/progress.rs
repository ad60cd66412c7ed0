//! How far a model is loaded, and who wants to know.

use std::fmt;
use std::sync::Arc;

/// How far a model is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadProgress {
    /// Bytes read of the files.
    pub read: u64,
    /// Bytes of the tensors in the files.
    pub total: u64,
    /// Bytes that the weights take in memory when all are read. More than `total` where they become f32.
    pub memory: u64,
}

/// Who is told how far loading is, on the thread that loads; by default nobody.
#[derive(Clone)]
pub struct LoadListener(Arc<dyn Fn(LoadProgress) + Send + Sync>);

impl LoadListener {
    /// Tells this function, first when nothing has been read yet.
    pub fn new(tell: impl Fn(LoadProgress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Tells how far it is.
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
