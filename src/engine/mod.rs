//! Everything MLX: weights, models, sampling, the KV prefix cache, tool-call decoding, and the one thread that owns the device.
//!
//! Never sees HTTP. Knows the wire types only where they describe tools and messages to render.

pub mod answer;
mod answering;
mod cache;
mod draft;
mod error;
mod generation;
mod handle;
mod memory;
mod model;
mod sampler;
mod sequence;
#[cfg(test)]
pub mod testing;
pub mod text;
mod version;
mod worker;

pub use cache::{CacheLimits, CacheStats, DiskOptions, DiskStats, Entry, Payload, PrefixTree, Segment};
pub use error::EngineError;
pub use generation::{CLOSING_TOKENS, EngineEvent, EventReceiver, Finished, Generation, Stop};
pub use handle::{Engine, EngineOptions};
pub use memory::MemoryUse;
pub use model::{Config, GenerationConfig, KvCache, LoadListener, LoadProgress, Model, Run};
pub use sampler::{Sampler, Sampling};
pub use version::{loaded_libraries, mlx_version};
