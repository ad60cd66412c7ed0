//! anyclaude records real Claude Code traffic, replays it on a local MLX model, and reports what changed.
//!
//! The modules follow the data: `wire` (the protocol's types) → `backend` (send a request, get events) →
//! `record`/`trace` (what happened, on disk) → `replay` (drive it again) → `snapshot` and `report` (what changed, how fast).
//! ARCHITECTURE.md tells the whole way.

pub mod backend;
pub mod cli;
pub mod config;
pub mod convert;
#[cfg(feature = "mlx")]
pub mod engine;
pub mod hub;
mod net;
pub mod record;
pub mod replay;
pub mod report;
pub mod server;
pub mod snapshot;
pub mod trace;
pub mod wire;
