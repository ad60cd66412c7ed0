//! `.snap` files in insta's format: reading, writing, diffing, accepting, rejecting.
//!
//! Owns the content of a snapshot ([`Outcome`]), its file ([`Snapshot`]), the folder of snapshots ([`Store`]) and the diff of two
//! outcomes ([`diff()`]). Knows nothing of backends, and not how an outcome came about.

mod diff;
mod digest;
mod error;
mod file;
mod outcome;
mod store;

pub use diff::{Side, diff};
pub use digest::ModelDigest;
pub use error::SnapshotError;
pub use file::{Info, Metadata, Snapshot};
pub use outcome::{Outcome, ToolUse};
pub use store::{ExchangeId, Store, accept, read_pending, reject};
