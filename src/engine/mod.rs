//! Everything MLX: weights, models, sampling, the KV prefix cache, tool-call decoding, and the one thread that owns the device.
//!
//! Never sees HTTP. Knows the wire types only where they describe tools and messages to render.

mod cache;
pub mod decode;
mod error;
mod handle;
mod model;
mod schedule;
#[cfg(test)]
pub mod testing;
pub mod text;
mod version;

pub use cache::{CacheLimits, CacheStats, DiskOptions, DiskStats, Entry, Payload, PrefixTree, Segment};
pub use decode::{Sampler, Sampling};
pub use error::EngineError;
pub use handle::{Engine, EngineOptions};
pub use model::{Config, GenerationConfig, KvCache, LoadListener, LoadProgress, Model, Run};
pub use schedule::{EngineEvent, EventReceiver, Finished, Generation, MemoryUse, Stop};
pub use version::{loaded_libraries, mlx_version};
