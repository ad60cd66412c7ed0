//! Any server that speaks the Anthropic Messages API.

/// (stub)
pub struct Remote;
