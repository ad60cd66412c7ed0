//! Decoder-only transformers on MLX: configuration, weights, layers, forward pass, KV cache. Knows tokens, not text.
//!
//! `language_model` is the whole forward pass, `transformer_block` and `layers` its parts, and `families` says how the
//! supported families differ; a new family is a new file there. Shapes are named as in docs/forward-pass.md.

mod activation;
mod attention;
mod batch;
mod compute_path;
mod config;
mod cpu;
mod delta_rule;
mod device_work;
mod embedding;
mod experts;
mod families;
mod gated_delta_net;
mod json_file;
mod kv_buffer;
mod kv_cache;
mod kv_joint;
mod kv_segment;
mod kv_spans;
mod language_model;
mod layers;
mod matrix;
mod mxfp4;
mod progress;
mod quantization;
mod raw_gemma4;
mod raw_gpt_oss;
mod raw_qwen;
mod recurrent_state;
mod rope;
mod tensor_names;
mod transformer_block;
mod weights;

pub use batch::SequenceInput;
pub use compute_path::ComputePath;
pub use config::{Config, GenerationConfig};
pub(super) use cpu::MAX_ROW_EXACT;
pub use device_work::DeviceWork;
pub(super) use device_work::wait;
#[cfg(test)]
pub(super) use kv_buffer::LayerKv;
pub use kv_cache::KvCache;
pub(super) use kv_cache::KvState;
pub(super) use kv_segment::{KvSegment, KvShape};
pub use language_model::Model;
pub(super) use mxfp4::{MXFP4_SHIPPED_BITS, mxfp4_bits};
pub use progress::{LoadListener, LoadProgress};
pub(super) use quantization::Storage;
