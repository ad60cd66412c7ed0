//! Rendering the results of a replay for the terminal, as JSON, as JUnit XML and as HdrHistogram text. Does no I/O.

pub mod hgrm;
pub mod junit;
mod latency;
mod replay_report;
mod tables;
pub mod terminal;
#[cfg(test)]
mod testing;
pub(crate) mod units;

pub use latency::{Distribution, PhaseLatency, latencies};
pub use replay_report::{FidelityShare, ReplayTarget, Report, States};
