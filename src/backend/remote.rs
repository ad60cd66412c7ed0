//! Any server that speaks the Anthropic Messages API, as a backend.
