//! What the tests share: a sandbox for what they start, waits that end, servers and clients of all kinds.

pub(crate) mod browser;
#[cfg(feature = "mlx")]
pub(crate) mod changed_model;
pub(crate) mod chat_upstream;
pub(crate) mod clients;
pub(crate) mod deadline;
pub(crate) mod demo;
pub(crate) mod faulty_backend;
#[cfg(feature = "mlx")]
pub(crate) mod faulty_proxy;
pub(crate) mod http;
pub(crate) mod hub;
pub(crate) mod launched;
pub(crate) mod listen;
pub(crate) mod log;
pub(crate) mod output;
pub(crate) mod process;
pub(crate) mod recorder;
pub(crate) mod replay_backend;
pub(crate) mod sandbox;
pub(crate) mod scripted;
#[cfg(feature = "mlx")]
pub(crate) mod serving;
pub(crate) mod terminal;
pub(crate) mod upstream;

/// The embedded model's folder.
#[cfg(feature = "mlx")]
pub(crate) const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny");

/// The folder of the committed traces.
pub(crate) const TRACES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/traces");
