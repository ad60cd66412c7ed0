//! Counts what a GPU makes us wait for and copy. Counts are the same on every machine, where times are not: `make bench-graph`
//! shows them.

use std::sync::atomic::{AtomicUsize, Ordering};

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::transforms::eval;

static WAITS: AtomicUsize = AtomicUsize::new(0);
static COPIED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What this process has done so far, in all engines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceWork {
    /// How often a forward pass or a copy was waited for.
    pub waits: usize,
    /// Keys and values that were computed before and copied from one buffer to another, in bytes.
    pub copied_bytes: usize,
}

impl DeviceWork {
    /// Counts now.
    pub fn so_far() -> Self {
        Self { waits: WAITS.load(Ordering::Relaxed), copied_bytes: COPIED_BYTES.load(Ordering::Relaxed) }
    }
}

/// Waits until these arrays are computed.
pub(in crate::engine) fn wait<'a>(arrays: impl IntoIterator<Item = &'a Array>) -> Result<(), Exception> {
    WAITS.fetch_add(1, Ordering::Relaxed);
    eval(arrays)
}

/// Notes that keys and values are copied.
pub(super) fn count_copy(bytes: usize) {
    COPIED_BYTES.fetch_add(bytes, Ordering::Relaxed);
}
