//! Counts the operations that a decoding step of the engine's GPU path takes in MLX. Counts are the same on every machine, where
//! times are not: what a change costs on a GPU can be seen without one.
//!
//! `operations` counts those that lead to any array, `decode_step` makes the steps to count, and `answer` counts what whole
//! answers wait for and copy.

mod answer;
mod decode_step;
mod dot;
mod operations;

pub use answer::AnswerCount;
pub use decode_step::{DecodeStep, StepCount, StepError, TestModel, lengths};
pub use operations::{GraphError, Operations, operations};
