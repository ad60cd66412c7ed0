//! Rendering the results of a replay for the terminal, as JSON, as JUnit XML, for GitHub Actions, as a page and as HdrHistogram
//! text. Does no I/O.

mod annotations;
pub mod backends;
mod baseline;
mod bootstrap;
mod budget;
pub mod compare;
mod fidelity;
mod figures_file;
pub mod hgrm;
pub mod html;
pub mod job_summary;
mod json_schema;
pub mod junit;
mod latency;
pub mod learnt;
pub mod load;
mod problem;
mod replay_report;
mod sureness;
mod table;
mod tables;
pub mod terminal;
#[cfg(test)]
mod testing;
pub(crate) mod units;
mod words;

pub use annotations::{annotations, ended_by};
pub use backends::{Backends, ExchangeAnswers, NamedReport, SharedAnswer};
pub use baseline::{Baseline, Comparison, Limits, Speed, SpeedVerdict};
pub use budget::{Budget, BudgetResult, Budgets, budget_results};
pub use fidelity::{FreeFidelitySummary, ToolFidelity};
pub use figures_file::{FiguresError, FiguresKind};
pub use json_schema::{backends_json_schema, compare_json_schema, json_schema, load_json_schema};
pub use latency::{Distribution, Metric, Percentile, PhaseLatency, latencies};
pub use load::{LoadTarget, Measured, MergeError};
pub use problem::{Problem, problems};
pub use replay_report::{FidelityShare, ReplayTarget, Report, States};
pub use sureness::MarginDrop;

/// Version of the JSON layout. Version 1 had `runs` in place of `measurements`; version 2 had `itl_us` in place of `gap_us`, no
/// kinds, and names in two parts.
const VERSION: u32 = 3;
