//! The pending snapshots as a reviewer sees them: what changed, which of them changed in the same way, what was decided.
//!
//! `pending` reads a pending snapshot with what it is compared with, `change` names what changed so that like changes have one
//! name, `argument` lists the arguments that differ. `state` is all that a full-screen review knows, `update` what a key does to it,
//! and `screen` how it looks. Only `pending` does I/O, when it reads a trace: decisions are carried out by the caller.

mod argument;
mod change;
mod pending;
mod rows;
mod rules;
mod screen;
mod state;
#[cfg(test)]
mod testing;
mod update;

pub use argument::{Argument, arguments};
pub use change::{Change, change};
pub use pending::{PendingOutcome, Recording};
pub use screen::draw;
pub use state::{Decision, State};
pub use update::{Key, Next};
