//! Rendering the results of a replay for the terminal, as JSON and as HdrHistogram text. Does no I/O.

pub mod hgrm;
mod latency;
mod replay_report;
mod tables;
pub mod terminal;
pub(crate) mod units;

pub use latency::{Distribution, PhaseLatency, latencies};
pub use replay_report::{FidelityShare, ReplayTarget, Report, States};
