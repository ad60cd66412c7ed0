//! `.snap` files in insta's format: reading, writing, diffing, accepting, rejecting.
//!
//! Owns the content of a snapshot ([`Outcome`]), its file ([`Snapshot`]), the folder of snapshots ([`Store`]), the rules under
//! which outcomes are equal ([`Matching`]), and the diff of two outcomes ([`diff()`]). Knows nothing of backends, and not how an
//! outcome came about.

mod diff;
mod digest;
mod error;
mod file;
mod matching;
mod outcome;
mod pending_file;
mod rule;
mod store;

pub use diff::{Side, diff};
pub use digest::ModelDigest;
pub use error::SnapshotError;
pub use file::{Info, Metadata, Snapshot};
pub use matching::Matching;
pub use outcome::{Outcome, ToolUse};
pub use pending_file::PendingFile;
pub use rule::{Rule, RuleText, WayName};
pub use store::{ExchangeId, Store, Unreferenced, pending_name};
