//! anyclaude records real Claude Code traffic, replays it on a local MLX model, and reports what changed.
//!
//! What is here so far: `wire`, the protocol's types, and `backend`, the trait that servers and replay are written against.

pub mod backend;
pub mod wire;
