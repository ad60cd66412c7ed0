//! anyclaude records real Claude Code traffic, replays it on a local MLX model, and reports what changed.
//!
//! The modules follow the data: [`wire`] (the protocol's types) → [`backend`] (send a request, get events) → [`record`] and
//! [`trace`] (exchanges on disk) → [`replay`] (send them again) → [`snapshot`] and [`report`] (what changed, how fast).
//! ARCHITECTURE.md describes the whole path.

pub mod backend;
pub mod cli;
pub mod config;
pub mod convert;
#[cfg(test)]
mod damage;
#[cfg(feature = "mlx")]
pub mod engine;
pub mod formats;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod hub;
pub mod load;
mod net;
pub mod playback;
pub mod record;
mod refuse;
pub mod replay;
pub mod report;
pub mod review;
pub mod server;
pub mod snapshot;
mod tensor_file;
pub mod trace;
pub mod watch;
pub mod wire;

use anyclaude_files as files;

/// The page's Rust is a test.
#[cfg(all(doctest, feature = "mlx"))]
#[doc = include_str!("../docs/library.md")]
mod library_page {}
