//! The memory of a GPU: how much it can work with, what MLX keeps of it for new arrays, and what stays resident.
//!
//! Everything here does nothing on the CPU path: MLX's allocator for CPUs keeps no pool and knows no such limits.

use mlx_rs::error::Exception;
use mlx_rs::memory::{clear_cache, set_cache_limit};

use crate::engine::model::ComputePath;

/// Most freed memory that MLX keeps for new arrays, in bytes: about what the activations of a prefill chunk take. Without a limit
/// it keeps up to all that a GPU can work with, as sizes of arrays that came up once may not come up again.
const POOL: usize = 2 << 30;

/// Memory that the GPU behind a path works with, in bytes; `None` if there is no GPU, or it does not tell.
pub(crate) fn working_set(path: ComputePath) -> Option<usize> {
    match (path, ComputePath::of_device()) {
        (ComputePath::Gpu, Ok(ComputePath::Gpu)) => of_gpu(),
        _ => None,
    }
}

/// On Metal the recommended working set, two thirds to three quarters of all memory. MLX tells it in no number that safe code can
/// ask for, but it refuses to wire more.
#[cfg(target_os = "macos")]
fn of_gpu() -> Option<usize> {
    let found = most_accepted(super::memory::all_memory()?, |bytes| mlx_rs::memory::set_wired_limit(bytes).is_ok());
    mlx_rs::memory::set_wired_limit(0).ok()?;
    (found > 0).then_some(found)
}

/// On CUDA MLX's own limit, a little less than the card's memory.
#[cfg(not(target_os = "macos"))]
fn of_gpu() -> Option<usize> {
    mlx_rs::memory::memory_limit().ok().filter(|bytes| *bytes > 0)
}

/// The most bytes up to `all` that are accepted, to 16 MiB; whatever is less must be accepted too.
#[cfg(any(target_os = "macos", test))]
fn most_accepted(all: usize, is_accepted: impl Fn(usize) -> bool) -> usize {
    if is_accepted(all) {
        return all;
    }
    let (mut accepted, mut refused) = (0, all);
    while refused - accepted > 16 << 20 {
        let middle = accepted + (refused - accepted) / 2;
        *if is_accepted(middle) { &mut accepted } else { &mut refused } = middle;
    }
    accepted
}

/// Limits what MLX keeps for new arrays.
pub(crate) fn limit_pool(path: ComputePath) -> Result<(), Exception> {
    match path {
        ComputePath::Cpu => Ok(()),
        ComputePath::Gpu => set_cache_limit(POOL).map(drop),
    }
}

/// Frees the memory that MLX keeps for new arrays. Called after each prefill chunk and each sealed segment of an answer.
pub(crate) fn give_back_pool(path: ComputePath) -> Result<(), Exception> {
    match path {
        ComputePath::Cpu => Ok(()),
        ComputePath::Gpu => clear_cache(),
    }
}

/// Keeps MLX's memory resident while answers are in work, as mlx-lm does: macOS would otherwise page weights out. Only Metal
/// knows such a limit.
#[derive(Debug, Default)]
pub(crate) struct WiredMemory {
    /// How much may be resident, in bytes; `None`: the device has no such limit.
    most: Option<usize>,
}

impl WiredMemory {
    /// For a device that works with this much memory.
    pub(crate) fn of(working_set: Option<usize>) -> Self {
        Self { most: working_set.filter(|_| cfg!(target_os = "macos")) }
    }

    /// Before work begins.
    pub(crate) fn hold(&self) {
        self.set(self.most);
    }

    /// When there is nothing to do.
    pub(crate) fn release(&self) {
        self.set(self.most.map(|_| 0));
    }

    fn set(&self, bytes: Option<usize>) {
        if let Some(bytes) = bytes
            && let Err(error) = mlx_rs::memory::set_wired_limit(bytes)
        {
            tracing::warn!(error = error.what(), "memory cannot be kept resident");
        }
    }
}

/// A warning if weights of this size leave the GPU little of its memory.
pub(crate) fn warning(weights: usize, working_set: usize) -> Option<String> {
    let gigabytes = |bytes: usize| bytes as f64 / 1e9;
    (weights > working_set / 10 * 9).then(|| {
        format!(
            "the weights take {:.1} GB of the {:.1} GB that the GPU works with: generation can be very slow",
            gigabytes(weights),
            gigabytes(working_set)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_found_by_what_is_refused() {
        for limit in [0usize, 5 << 20, 700 << 20, 48_000_000_000, 64 << 30] {
            let found = most_accepted(64 << 30, |bytes| bytes <= limit);
            assert!(found <= limit && limit - found <= 16 << 20, "{found} of {limit}");
        }
    }

    #[test]
    fn a_model_as_large_as_the_memory_is_warned_of() {
        assert_eq!(warning(17_000_000_000, 22_000_000_000), None);
        assert_eq!(
            warning(21_000_000_000, 22_000_000_000).unwrap(),
            "the weights take 21.0 GB of the 22.0 GB that the GPU works with: generation can be very slow"
        );
    }

    #[test]
    fn without_a_gpu_there_is_no_limit() {
        assert_eq!(working_set(ComputePath::Cpu), None);
        if matches!(ComputePath::of_device(), Ok(ComputePath::Cpu)) {
            assert_eq!(working_set(ComputePath::Gpu), None);
        }
        limit_pool(ComputePath::Gpu).unwrap();
        give_back_pool(ComputePath::Gpu).unwrap();
    }
}
