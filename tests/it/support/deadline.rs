//! Waits that fail instead of hanging, and name what did not come. Whatever a test waits for, it waits for here.

use std::fmt::Display;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at that nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a blocking call gives. A call that hangs keeps its thread, and the test fails.
#[track_caller]
pub(crate) fn within<T: Send + 'static>(what: impl Display, call: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, result) = mpsc::channel();
    let caller = thread::spawn(move || drop(sender.send(call())));
    match result.recv_timeout(PATIENCE) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => fail(what, PATIENCE),
        Err(RecvTimeoutError::Disconnected) => resume_unwind(caller.join().unwrap_err()),
    }
}

/// What comes next through a channel.
#[track_caller]
pub(crate) fn receive<T>(what: impl Display, channel: &Receiver<T>) -> T {
    receive_within(PATIENCE, what, channel)
}

#[track_caller]
fn receive_within<T>(patience: Duration, what: impl Display, channel: &Receiver<T>) -> T {
    match channel.recv_timeout(patience) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => fail(what, patience),
        Err(RecvTimeoutError::Disconnected) => panic!("{what} can no longer come"),
    }
}

/// What a condition gives once it holds. For what nobody announces: a file that grows, the state of another process.
#[track_caller]
pub(crate) fn until<T>(what: impl Display, condition: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, condition)
}

#[track_caller]
fn until_within<T>(patience: Duration, what: impl Display, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        match condition() {
            Some(value) => return value,
            None if start.elapsed() > patience => fail(what, patience),
            None => thread::sleep(LOOK_EVERY),
        }
    }
}

/// What a future gives.
pub(crate) async fn soon<T>(what: impl Display, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => fail(what, PATIENCE),
    }
}

#[track_caller]
fn fail(what: impl Display, patience: Duration) -> ! {
    panic!("{what} did not come within {} s", patience.as_secs())
}

#[test]
#[should_panic(expected = "a message did not come within 0 s")]
fn a_channel_that_stays_empty_fails() {
    let (_sender, channel) = mpsc::channel::<()>();
    receive_within(Duration::ZERO, "a message", &channel);
}

#[test]
#[should_panic(expected = "the file did not come within 0 s")]
fn a_condition_that_never_holds_fails() {
    until_within(Duration::ZERO, "the file", || None::<()>);
}

#[test]
#[should_panic(expected = "a bug")]
fn a_call_that_panics_fails_with_its_own_words() {
    within("an answer", || panic!("a bug"));
}
