//! What the tests share: a sandbox for what they start, waits that end, servers and clients of all kinds.

pub mod chat_upstream;
pub mod clients;
pub mod deadline;
pub mod demo;
pub mod http;
pub mod hub;
pub mod listen;
pub mod log;
pub mod process;
pub mod recorder;
pub mod replay_backend;
pub mod sandbox;
pub mod scripted;
#[cfg(feature = "mlx")]
pub mod serving;
pub mod upstream;

/// The embedded model's folder.
#[cfg(feature = "mlx")]
pub const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny");

/// The folder of the committed traces.
pub const TRACES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/traces");
