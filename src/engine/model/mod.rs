//! Models on MLX: their configuration, weights, layers and KV cache. Knows tokens, not text.
//!
//! A new family is a new file in `families`.

mod activation;
mod attention;
mod batch;
mod block;
mod config;
mod cores;
mod cpu;
mod cpu_attention;
mod cpu_product;
mod decoder;
mod experts;
mod families;
mod kv_cache;
mod layers;
mod matrix;
mod progress;
mod quantization;
mod rope;
mod row_attention;
mod weights;

pub use batch::Run;
pub use config::{Config, GenerationConfig};
pub use decoder::Model;
pub use kv_cache::{KvCache, KvSegment};
pub use progress::{LoadListener, LoadProgress};
