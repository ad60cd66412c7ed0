//! Who uses the device when: requests are admitted, prefill and decode take turns, memory stays within its limit.
//!
//! `worker` is the loop of the device's thread, `active_answer` one answer in it, `sequence` its tokens with their KV cache,
//! `device_choice` lets a GPU choose the next ones, `prompt_lookup` proposes drafts, `read_ahead` is what to read from disk in
//! idle time, `memory` and `device_memory` measure and limit, `output_limits` ends answers that do not end by themselves, and
//! `generation` is the data that crosses the thread's border.

mod active_answer;
mod device_choice;
pub(super) mod device_memory;
pub(super) mod generation;
pub(super) mod memory;
pub(super) mod output_limits;
mod prompt_lookup;
mod read_ahead;
pub(super) mod sequence;
mod worker;

pub use generation::{EndReason, EngineEvent, EventReceiver, Finished, Generation};
pub use memory::MemoryUse;
pub use output_limits::OutputLimits;
pub(super) use sequence::Sequence;
pub(crate) use worker::MAX_ACTIVE;
pub(super) use worker::{SharedState, WarmUpProgress, Worker, WorkerCommand};
