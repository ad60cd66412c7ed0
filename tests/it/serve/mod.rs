//! The Messages API as a server and as its client.

mod api;
#[cfg(feature = "mlx")]
mod bad_heads;
#[cfg(feature = "mlx")]
mod bad_requests;
#[cfg(feature = "mlx")]
mod blocks;
mod clients;
mod completions;
#[cfg(feature = "mlx")]
mod cut_calls;
#[cfg(feature = "mlx")]
mod formats;
mod half_heads;
#[cfg(feature = "mlx")]
mod keys;
#[cfg(feature = "mlx")]
mod large_requests;
mod leaving;
#[cfg(feature = "mlx")]
mod loosened;
#[cfg(feature = "mlx")]
mod model;
mod pages;
mod playback;
mod remote;
mod responses;
mod routes;
#[cfg(feature = "mlx")]
mod templates;
#[cfg(feature = "mlx")]
mod unread;

use serde_json::{Value, json};

/// A request that says hi.
fn hello(stream: bool) -> Value {
    json!({"model": "claude-opus-5-5", "max_tokens": 100, "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
}
