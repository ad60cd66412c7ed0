//! Models on MLX: their configuration, weights, layers and KV cache. Knows tokens, not text.
//!
//! A new family is a new file beside `qwen3.rs`.

mod attention;
mod config;
mod kv_cache;
mod qwen3;
mod weights;

pub use config::{Config, GenerationConfig};
pub use kv_cache::{KvCache, KvSegment};
pub use qwen3::Qwen3;
