//! Memory, as measured: how much MLX and the process use, how much is free, and whether a request fits.

use crate::engine::EngineError;
use crate::engine::model::{ComputePath, KvCache};

/// Output tokens that an answer reserves memory for when it begins. A longer answer makes the prefix cache shrink later.
const RESERVED_OUTPUT_TOKENS: usize = 1024;

/// Copies of the recurrent layers' states that an answer takes: now, before the last pass, and two checkpoints of its prompt.
const STATES: usize = 4;

/// Tokens that an answer reserves memory for when it begins, with its prompt.
pub(crate) fn reserved_tokens(prompt_tokens: usize, max_tokens: usize) -> usize {
    prompt_tokens + max_tokens.min(RESERVED_OUTPUT_TOKENS)
}

/// Memory in use, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Memory of MLX's arrays.
    pub active: usize,
    /// Freed memory that MLX holds ready for new arrays.
    pub buffered: usize,
    /// The highest value of `active` so far.
    pub peak: usize,
    /// The process's resident memory; `None` if the system does not tell.
    pub resident: Option<usize>,
}

impl MemoryUse {
    /// Measures now.
    pub fn now() -> Self {
        use mlx_rs::memory::{cache_memory, peak_memory};
        Self { active: active(), buffered: cache_memory().unwrap_or(0), peak: peak_memory().unwrap_or(0), resident: resident() }
    }
}

/// Memory of MLX's arrays, in bytes. Cheap, unlike [`MemoryUse::now`], which asks the system.
fn active() -> usize {
    mlx_rs::memory::active_memory().unwrap_or(0)
}

/// How much memory a sequence takes, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SequenceMemory {
    /// A token's keys and values in all layers.
    pub token: usize,
    /// The states of all recurrent layers, however many tokens there are.
    pub state: usize,
}

/// How much memory MLX's arrays may take, and how much a token does; all in bytes.
#[derive(Clone, Debug)]
pub(crate) struct MemoryLimit {
    /// Memory of the arrays before any token: the weights.
    pub base: usize,
    /// Most memory of all arrays.
    pub most: usize,
    /// Memory of one token's keys and values.
    pub token_bytes: usize,
    /// Memory of the recurrent layers' states.
    pub state_bytes: usize,
    /// On the GPU path an active answer has a copy of its keys and values, beside the segments.
    pub path: ComputePath,
}

/// Whether a request fits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Enough,
    /// This many bytes are missing.
    Missing(usize),
}

impl MemoryLimit {
    /// Allows nine tenths of the memory that is free now; no limit if the system does not tell. `working_set`: what the GPU works
    /// with, if there is one.
    pub(crate) fn of_free(
        SequenceMemory { token, state }: SequenceMemory,
        path: ComputePath,
        working_set: Option<usize>,
    ) -> Self {
        let base = active();
        let most = usable(working_set).map_or(usize::MAX, |usable| base + usable);
        Self { base, most, token_bytes: token, state_bytes: state, path }
    }

    /// Memory of a prompt and its answer if nothing of it is cached, in bytes.
    pub(crate) fn whole(&self, prompt_tokens: usize, max_tokens: usize) -> usize {
        let tokens = reserved_tokens(prompt_tokens, max_tokens);
        let copied = match self.path {
            ComputePath::Cpu => 0,
            ComputePath::Gpu => KvCache::grown_capacity(tokens),
        };
        (tokens + copied) * self.token_bytes + STATES * self.state_bytes
    }

    /// Refuses a request that does not fit even if nothing else is in memory.
    pub(crate) fn check(&self, prompt_tokens: usize, max_tokens: usize) -> Result<(), EngineError> {
        let (needed, most) = (self.whole(prompt_tokens, max_tokens), self.most.saturating_sub(self.base));
        if needed <= most {
            return Ok(());
        }
        Err(EngineError::Request(format!(
            "prompt is too long: {prompt_tokens} tokens need {:.1} MB of memory, {:.1} MB is there at most",
            needed as f64 / 1e6,
            most as f64 / 1e6
        )))
    }

    /// Whether `bytes` more fit beside the arrays in use.
    pub(crate) fn room_for(&self, bytes: usize) -> Room {
        match (active() + bytes).checked_sub(self.most) {
            None | Some(0) => Room::Enough,
            Some(missing) => Room::Missing(missing),
        }
    }
}

/// Memory that the engine lets arrays take beside those that are there, in bytes: a tenth of what is left stays free. `None`: the
/// system does not tell.
pub(crate) fn usable(working_set: Option<usize>) -> Option<usize> {
    Some(available(working_set)? / 10 * 9)
}

/// Memory that is left for arrays, in bytes: what the GPU works with, less the arrays that are there; without a GPU, what the
/// system can give without swapping.
pub(crate) fn available(working_set: Option<usize>) -> Option<usize> {
    working_set.map(|bytes| bytes.saturating_sub(active())).or_else(free_memory)
}

/// What the system can give without swapping, in bytes.
#[cfg(not(target_os = "macos"))]
fn free_memory() -> Option<usize> {
    kilobytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// macOS does not tell in one number how much of its memory is free.
#[cfg(target_os = "macos")]
fn free_memory() -> Option<usize> {
    all_memory()
}

#[cfg(not(target_os = "macos"))]
fn resident() -> Option<usize> {
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

#[cfg(target_os = "macos")]
fn resident() -> Option<usize> {
    // In kilobytes.
    number_from("ps", &["-o", "rss=", "-p", &std::process::id().to_string()]).map(|kilobytes| kilobytes * 1024)
}

/// The machine's memory, in bytes.
#[cfg(target_os = "macos")]
pub(super) fn all_memory() -> Option<usize> {
    number_from("sysctl", &["-n", "hw.memsize"])
}

/// The number that a program prints.
#[cfg(target_os = "macos")]
fn number_from(program: &str, arguments: &[&str]) -> Option<usize> {
    let output = std::process::Command::new(program).args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// The value of a line such as `VmRSS:  123 kB`, in bytes.
#[cfg(not(target_os = "macos"))]
fn kilobytes(text: &str, name: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_measured() {
        let array = mlx_rs::Array::from_slice(&vec![1.0_f32; 1_000_000], &[1_000_000]);
        let now = MemoryUse::now();
        assert!(now.active >= array.nbytes() && now.peak >= now.active, "{now:?}");
        assert!(available(None).unwrap() > 0 && now.resident.is_none_or(|resident| resident > array.nbytes()));
    }

    #[test]
    fn a_request_that_never_fits_is_refused_with_the_figures() {
        let limit = MemoryLimit { base: 5_000_000, most: 25_000_000, token_bytes: 1000, state_bytes: 0, path: ComputePath::Cpu };
        assert!(limit.check(19_000, 1000).is_ok() && limit.check(18_900, 64_000).is_ok());
        assert_eq!(
            limit.check(20_000, 64_000).unwrap_err().to_string(),
            "prompt is too long: 20000 tokens need 21.0 MB of memory, 20.0 MB is there at most"
        );
    }

    #[test]
    fn on_the_gpu_path_an_answer_takes_its_segments_and_a_copy_with_room_to_grow() {
        let limit = MemoryLimit { base: 0, most: 0, token_bytes: 10, state_bytes: 7, path: ComputePath::Gpu };
        assert_eq!(limit.whole(8000, 192), (8192 + 9216) * 10 + STATES * 7);
    }

    #[test]
    fn room_is_the_limit_less_what_is_in_use() {
        let _array = mlx_rs::Array::from_slice(&[1.0_f32; 1000], &[1000]);
        let active = MemoryUse::now().active;
        let limit = MemoryLimit { base: 0, most: active + 100, token_bytes: 1, state_bytes: 0, path: ComputePath::Cpu };
        assert_eq!((limit.room_for(100), limit.room_for(107)), (Room::Enough, Room::Missing(7)));
    }
}
