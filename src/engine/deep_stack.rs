//! Threads for work that recurses as deep as somebody else's input is nested.

use std::{io, thread};

/// Runs the work on a thread of this name, with a stack of so many bytes, and waits for it. Only the pages of the stack that are
/// used take memory. The inner result is an error if the work panicked.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn run<T: Send>(name: &str, stack: usize, work: impl FnOnce() -> T + Send) -> io::Result<thread::Result<T>> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name.into()).stack_size(stack);
        Ok(thread.spawn_scoped(scope, work)?.join())
    })
}
