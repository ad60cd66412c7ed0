//! The conversations that are still to be read from disk before anybody asks for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Conversations in the order in which to read them. Any thread can see whether some are left.
pub(super) struct ReadAhead {
    /// The tokens of each conversation; the last one is next.
    waiting: Vec<Vec<u32>>,
    active: Arc<AtomicBool>,
}

impl ReadAhead {
    /// Nothing to read; keeps `active` up to date from now on.
    pub(super) fn new(active: Arc<AtomicBool>) -> Self {
        let read_ahead = Self { waiting: Vec::new(), active };
        read_ahead.publish();
        read_ahead
    }

    /// Starts over with these conversations, the first one first.
    pub(super) fn schedule(&mut self, mut conversations: Vec<Vec<u32>>) {
        conversations.reverse();
        self.waiting = conversations;
        self.publish();
    }

    /// How many conversations are left.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The conversation to read next.
    pub(super) fn next(&self) -> Option<&[u32]> {
        self.waiting.last().map(Vec::as_slice)
    }

    /// Goes on to the conversation after that.
    pub(super) fn advance(&mut self) {
        self.waiting.pop();
        self.publish();
    }

    /// Leaves all that are left.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
        self.publish();
    }

    /// `Release`, so that a thread that sees the end also sees what was published before it.
    fn publish(&self) {
        self.active.store(!self.waiting.is_empty(), Ordering::Release);
    }
}
