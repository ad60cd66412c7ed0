//! What came so far, in order, for tests that look at it and those that wait for the next.

use tokio::sync::watch;

use super::deadline::soon;

/// A list that grows on one thread and is waited for on another.
pub(crate) struct Log<T>(watch::Sender<Vec<T>>);

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }
}

impl<T: Clone> Log<T> {
    pub(crate) fn push(&self, item: T) {
        self.0.send_modify(|items| items.push(item));
    }

    /// Everything so far.
    pub(crate) fn all(&self) -> Vec<T> {
        self.0.borrow().clone()
    }

    /// Returns once the given number of lines has come.
    pub(crate) async fn reaches(&self, count: usize) {
        let mut items = self.0.subscribe();
        // The sender lives as long as we do.
        let reached = items.wait_for(|items| items.len() >= count);
        soon(format!("number {count} of what is asked for"), reached).await.unwrap();
    }
}
