//! Memory, measured: what MLX and the process use, what is free, and what a request may still take.

use crate::engine::EngineError;

/// Output tokens that every answer is given room for when it begins. Longer ones make the cache shrink.
const ANSWER_TOKENS: usize = 1024;

/// Memory in use, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// What MLX's arrays take.
    pub active: usize,
    /// What MLX holds ready for the next ones.
    pub buffered: usize,
    /// The most that arrays ever took.
    pub peak: usize,
    /// The process's resident memory, where the system tells.
    pub resident: Option<usize>,
}

impl MemoryUse {
    /// Measures.
    pub fn now() -> Self {
        use mlx_rs::memory::{cache_memory, peak_memory};
        Self { active: active(), buffered: cache_memory().unwrap_or(0), peak: peak_memory().unwrap_or(0), resident: resident() }
    }
}

/// Bytes of MLX's arrays. Costs nothing, unlike [`MemoryUse::now`], which asks the system.
fn active() -> usize {
    mlx_rs::memory::active_memory().unwrap_or(0)
}

/// How much MLX may take, and what tokens cost.
#[derive(Clone, Debug)]
pub struct MemoryLimit {
    /// What MLX's arrays take without any token: the weights.
    pub base: usize,
    /// What they may take in all.
    pub most: usize,
    /// What keys and values of a token take.
    pub token_bytes: usize,
}

/// Whether a request fits.
#[derive(Debug, PartialEq, Eq)]
pub enum Room {
    Enough,
    /// So many bytes are missing.
    Missing(usize),
}

impl MemoryLimit {
    /// Leaves a tenth of what is free to others. Without a word from the system, nothing is limited.
    pub fn of_free(token_bytes: usize) -> Self {
        let base = active();
        let most = available().map_or(usize::MAX, |free| base + free / 10 * 9);
        Self { base, most, token_bytes }
    }

    /// What a prompt and its answer take when nothing of it is known, in bytes.
    pub fn whole(&self, prompt_tokens: usize, max_tokens: usize) -> usize {
        (prompt_tokens + max_tokens.min(ANSWER_TOKENS)) * self.token_bytes
    }

    /// Refuses what does not fit even alone.
    pub fn check(&self, prompt_tokens: usize, max_tokens: usize) -> Result<(), EngineError> {
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

    /// Whether so many more bytes fit beside those in use.
    pub fn room_for(&self, bytes: usize) -> Room {
        match (active() + bytes).checked_sub(self.most) {
            None | Some(0) => Room::Enough,
            Some(missing) => Room::Missing(missing),
        }
    }
}

/// Memory that can be had without pushing anything out, in bytes.
#[cfg(target_os = "linux")]
pub fn available() -> Option<usize> {
    kilobytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// The machine's memory, in bytes: how much of it is free is not told in one number.
#[cfg(not(target_os = "linux"))]
pub fn available() -> Option<usize> {
    let output = std::process::Command::new("sysctl").args(["-n", "hw.memsize"]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

#[cfg(target_os = "linux")]
fn resident() -> Option<usize> {
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

#[cfg(not(target_os = "linux"))]
fn resident() -> Option<usize> {
    None
}

/// The bytes of a line such as `VmRSS:  123 kB`.
#[cfg(target_os = "linux")]
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
        assert!(available().unwrap() > 0 && now.resident.is_none_or(|resident| resident > array.nbytes()));
    }

    #[test]
    fn what_never_fits_is_refused_with_the_numbers() {
        let limit = MemoryLimit { base: 5_000_000, most: 25_000_000, token_bytes: 1000 };
        assert!(limit.check(19_000, 1000).is_ok() && limit.check(18_900, 64_000).is_ok());
        assert_eq!(
            limit.check(20_000, 64_000).unwrap_err().to_string(),
            "prompt is too long: 20000 tokens need 21.0 MB of memory, 20.0 MB is there at most"
        );
    }

    #[test]
    fn room_is_what_is_not_in_use() {
        let _array = mlx_rs::Array::from_slice(&[1.0_f32; 1000], &[1000]);
        let active = MemoryUse::now().active;
        let limit = MemoryLimit { base: 0, most: active + 100, token_bytes: 1 };
        assert_eq!((limit.room_for(100), limit.room_for(107)), (Room::Enough, Room::Missing(7)));
    }
}
