//! Everything MLX: weights, models, sampling, the KV prefix cache, tool-call decoding, and the one thread that owns the device.
//!
//! Never sees HTTP. Knows the wire types only where they describe tools and messages to render.

pub mod answer;
mod error;
pub mod text;

pub use error::EngineError;
