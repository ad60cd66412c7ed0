//! Whether a connection has an answer of the router's under way. Hyper's own refusals come only while it has none.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// No request has come, or the answer to the last one is written.
const IDLE: u8 = 0;

/// The router has a request, or its answer is not yet read to its end.
const ANSWERING: u8 = 1;

/// The answer is read to its end. Some of it may not be written yet.
const ANSWERED: u8 = 2;

/// The state of one connection, which handles one request at a time.
#[derive(Clone, Default)]
pub(super) struct AtWork(Arc<AtomicU8>);

impl AtWork {
    /// A request has reached the router. It is at work until the guard is dropped and what was answered is written.
    pub(super) fn begin(&self) -> AnswerGuard {
        self.0.store(ANSWERING, Ordering::Release);
        AnswerGuard(self.clone())
    }

    /// Everything so far is written; whether the last answer ended with that.
    pub(super) fn written(&self) -> bool {
        self.0.compare_exchange(ANSWERED, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.0.load(Ordering::Acquire) == IDLE
    }
}

/// Lives as long as a request is handled or its answer is read.
pub(super) struct AnswerGuard(AtWork);

impl Drop for AnswerGuard {
    fn drop(&mut self) {
        self.0.0.store(ANSWERED, Ordering::Release);
    }
}

/// An answer's body with something that lives until it is sent, or nobody reads it any more.
pub(super) struct GuardedBody<G> {
    pub(super) body: Body,
    pub(super) _guard: G,
}

impl<G: Unpin> HttpBody for GuardedBody<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[test]
fn an_answer_is_under_way_until_it_is_read_and_written() {
    let at_work = AtWork::default();
    assert!(at_work.is_idle() && !at_work.written());
    let guard = at_work.begin();
    assert!(!at_work.written() && !at_work.is_idle(), "what was written was a part of it");
    drop(guard);
    assert!(!at_work.is_idle(), "its end may be in a buffer");
    assert!(at_work.written() && at_work.is_idle());
}
