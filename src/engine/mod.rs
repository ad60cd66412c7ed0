//! Everything that runs the model with MLX: weights, forward pass, prefix cache, sampling, tool-call decoding, and the one thread
//! that owns the device.
//!
//! `handle` is the way in. It stands on `schedule`, which decides who uses the device when; below are `text`, `decode`, `cache`
//! and `model`, and `segment`, which the last two exchange. Knows no HTTP, and of the wire types only tools and messages.

mod cache;
mod cache_folder;
#[cfg(test)]
mod damaged_files;
pub mod decode;
mod deep_stack;
mod error;
mod handle;
mod memory_forecast;
mod model;
mod schedule;
mod segment;
#[cfg(test)]
pub mod testing;
pub mod text;
mod version;

pub use cache::{CacheLimits, CacheStats, CachedPrompt, DiskOptions, DiskStats, PrefixTree};
pub use decode::{Sampler, Sampling};
pub use error::EngineError;
pub use handle::{Engine, EngineOptions};
pub use memory_forecast::MemoryForecast;
pub use model::{ComputePath, Config, DeviceWork, GenerationConfig, KvCache, LoadListener, LoadProgress, Model, SequenceInput};
pub(crate) use schedule::MAX_ACTIVE;
pub use schedule::{EndReason, EngineEvent, EventReceiver, Finished, Generation, MemoryUse, OutputLimits};
pub use segment::{Payload, Segment};
pub use version::{loaded_libraries, mlx_version};
