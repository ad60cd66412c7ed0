//! Admission: how many answers are computed at once, how many requests wait, and when a client that does not read is given up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::engine::{EngineError, EngineEvent, EventReceiver, MAX_ACTIVE};

/// How long clients may wait, and how long they may make others wait.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// Most requests that wait while all slots are taken.
    pub most_waiting: usize,
    /// How long a request waits for a slot.
    pub longest_wait: Duration,
    /// How long a client may read nothing of its answer while much of it waits.
    pub longest_stall: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self { most_waiting: 64, longest_wait: Duration::from_secs(300), longest_stall: Duration::from_secs(30) }
    }
}

/// Events of an answer that wait for its client. Beside them are the buffers of the connection, some thousand tokens.
const UNREAD: usize = 256;

/// An answer's events for its client.
pub(crate) type ClientEvents = mpsc::Receiver<Result<EngineEvent, EngineError>>;

/// Lets requests in, as far as there is room for them: slots of the engine for active answers, and a queue before these.
pub(crate) struct Admission {
    free: Arc<Semaphore>,
    /// Requests that may be here at all: active ones and those that wait.
    admitted: Arc<Semaphore>,
    limits: ClientLimits,
}

/// A request that was let in. It holds its admission until its answer has ended.
pub(crate) struct Admitted {
    free: Arc<Semaphore>,
    limits: ClientLimits,
    admission: OwnedSemaphorePermit,
}

/// The slot of an active answer. Free again when dropped.
pub(crate) struct Slot {
    longest_stall: Duration,
    _slot: OwnedSemaphorePermit,
    _admission: OwnedSemaphorePermit,
}

impl Admission {
    /// As many slots as the engine has for active answers.
    pub(crate) fn new(limits: ClientLimits) -> Self {
        Self::of(MAX_ACTIVE, limits)
    }

    fn of(slots: usize, limits: ClientLimits) -> Self {
        let (free, admitted) =
            (Semaphore::new(slots), Semaphore::new(slots.saturating_add(limits.most_waiting).min(Semaphore::MAX_PERMITS)));
        Self { free: Arc::new(free), admitted: Arc::new(admitted), limits }
    }

    /// Lets a request in, before anything is done for it.
    ///
    /// # Errors
    /// Too many wait already.
    pub(crate) fn admit(&self) -> Result<Admitted, EngineError> {
        let full = |_| EngineError::Overloaded("too many requests wait for an answer already: try again".into());
        let admission = self.admitted.clone().try_acquire_owned().map_err(full)?;
        Ok(Admitted { free: self.free.clone(), limits: self.limits, admission })
    }
}

impl Admitted {
    /// Takes a slot; waits for one in the order of the requests.
    ///
    /// # Errors
    /// None became free for too long.
    pub(crate) async fn slot(self) -> Result<Slot, EngineError> {
        let ClientLimits { longest_wait, longest_stall, .. } = self.limits;
        match timeout(longest_wait, self.free.acquire_owned()).await {
            Ok(Ok(slot)) => Ok(Slot { longest_stall, _slot: slot, _admission: self.admission }),
            // The semaphore is never closed, so this is the other case: the wait is over.
            Ok(Err(_)) | Err(_) => {
                let seconds = longest_wait.as_secs();
                Err(EngineError::Overloaded(format!("other answers took all slots for {seconds} s: try again")))
            }
        }
    }
}

/// The answer's events. The slot is free again when the answer ends, when nobody wants it any more, or when its client reads
/// nothing of it for too long: a client that is stopped or stuck must not keep others from theirs. One that is merely slow gets
/// all of it.
pub(crate) fn for_client(mut events: EventReceiver, slot: Slot) -> ClientEvents {
    let (sender, receiver) = mpsc::channel(UNREAD);
    let longest_stall = slot.longest_stall;
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = sender.closed() => None,
            };
            let Some(event) = event else { return };
            match sender.send_timeout(event, longest_stall).await {
                Ok(()) => {}
                Err(SendTimeoutError::Closed(_)) => return,
                Err(SendTimeoutError::Timeout(_)) => break,
            }
        }
        drop((events, slot));
        tracing::warn!("an answer was cancelled: its client read nothing for {longest_stall:?}");
        let reason = "the answer was cancelled because the client did not read it";
        // Fails only if the client is gone.
        let _ = sender.send(Err(EngineError::Overloaded(reason.into()))).await;
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decode::Piece;

    /// The limits but for how many may wait, and for how long.
    fn limited(slots: usize, most_waiting: usize, longest_wait: Duration) -> Admission {
        Admission::of(slots, ClientLimits { most_waiting, longest_wait, ..ClientLimits::default() })
    }

    async fn take(admission: &Admission) -> Result<Slot, EngineError> {
        admission.admit()?.slot().await
    }

    fn overloaded<T>(outcome: Result<T, EngineError>) -> String {
        match outcome {
            Err(EngineError::Overloaded(reason)) => reason,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("there was a slot"),
        }
    }

    #[tokio::test]
    async fn whoever_finds_the_queue_full_or_waits_too_long_is_sent_away() {
        let admission = limited(1, 1, Duration::from_secs(3600));
        let taken = take(&admission).await.unwrap();
        let waiting = admission.admit().unwrap();
        insta::assert_snapshot!(overloaded(admission.admit()), @"too many requests wait for an answer already: try again");
        drop(taken);
        waiting.slot().await.unwrap();

        let impatient = limited(1, 1, Duration::ZERO);
        let _taken = take(&impatient).await.unwrap();
        insta::assert_snapshot!(overloaded(take(&impatient).await), @"other answers took all slots for 0 s: try again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_gets_all_of_its_answer() {
        let admission = limited(1, 1, Duration::from_secs(3600));
        let (sender, events) = mpsc::unbounded_channel();
        let mut slow = for_client(events, take(&admission).await.unwrap());
        for _ in 0..4 * UNREAD {
            sender.send(Ok(EngineEvent::Piece(Piece::Text("a".into())))).unwrap();
        }
        drop(sender);
        let mut read = 0;
        while let Some(event) = slow.recv().await {
            assert!(matches!(event, Ok(EngineEvent::Piece(_))));
            tokio::time::sleep(ClientLimits::default().longest_stall / 2).await;
            read += 1;
        }
        assert_eq!(read, 4 * UNREAD);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_is_cancelled_and_frees_its_slot() {
        let admission = limited(1, 1, Duration::from_secs(3600));
        let (sender, events) = mpsc::unbounded_channel();
        let mut unread = for_client(events, take(&admission).await.unwrap());
        for _ in 0..=UNREAD {
            sender.send(Ok(EngineEvent::Piece(Piece::Text("a".into())))).unwrap();
        }
        sender.closed().await;
        let _free = take(&admission).await.unwrap();
        for _ in 0..UNREAD {
            assert!(matches!(unread.recv().await, Some(Ok(EngineEvent::Piece(_)))));
        }
        insta::assert_snapshot!(overloaded(unread.recv().await.unwrap()), @"the answer was cancelled because the client did not read it");
        assert!(unread.recv().await.is_none());
    }

    #[tokio::test]
    async fn an_answer_that_nobody_wants_frees_its_slot() {
        let admission = limited(1, 1, Duration::from_secs(3600));
        let (sender, events) = mpsc::unbounded_channel();
        drop(for_client(events, take(&admission).await.unwrap()));
        sender.closed().await;
        let (sender, events) = mpsc::unbounded_channel();
        let mut read = for_client(events, take(&admission).await.unwrap());
        sender.send(Ok(EngineEvent::Piece(Piece::Text("a".into())))).unwrap();
        drop(sender);
        assert!(read.recv().await.is_some() && read.recv().await.is_none());
        drop(take(&admission).await.unwrap());
    }
}
