//! The HTTP server: the Anthropic Messages API over any backend.
