//! Who may have an answer in work: so many at once, so many waiting, and none whose client does not read it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::engine::{EngineError, EngineEvent, EventReceiver, MAX_ACTIVE};

/// Most requests that wait while all places are taken.
const MOST_WAITING: usize = 64;

/// How long a request waits for a place.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Events of an answer that wait for its client. Beside them are the buffers of the connection, some thousand tokens.
const UNREAD: usize = 256;

/// How long a client may read nothing while that much waits for it.
const LONGEST_STALL: Duration = Duration::from_secs(30);

/// An answer's events for its client.
pub(crate) type ClientEvents = mpsc::Receiver<Result<EngineEvent, EngineError>>;

/// The places for active answers, and for requests on their way to one.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    /// Requests that may be here at all: active ones and those that wait.
    admitted: Arc<Semaphore>,
    longest_wait: Duration,
}

/// A request that was let in. It holds its admission until its answer has ended.
pub(crate) struct Admitted {
    free: Arc<Semaphore>,
    longest_wait: Duration,
    admission: OwnedSemaphorePermit,
}

/// The place of an active answer. Free again when dropped.
pub(crate) struct AnswerPlace {
    _place: OwnedSemaphorePermit,
    _admission: OwnedSemaphorePermit,
}

impl Default for Places {
    fn default() -> Self {
        Self::new(MAX_ACTIVE, MOST_WAITING, LONGEST_WAIT)
    }
}

impl Places {
    fn new(places: usize, most_waiting: usize, longest_wait: Duration) -> Self {
        let (free, admitted) = (Semaphore::new(places), Semaphore::new(places + most_waiting));
        Self { free: Arc::new(free), admitted: Arc::new(admitted), longest_wait }
    }

    /// Lets a request in, before anything is done for it.
    ///
    /// # Errors
    /// Too many wait already.
    pub(crate) fn admit(&self) -> Result<Admitted, EngineError> {
        let full = |_| EngineError::Overloaded("too many requests wait for an answer already: try again".into());
        let admission = self.admitted.clone().try_acquire_owned().map_err(full)?;
        Ok(Admitted { free: self.free.clone(), longest_wait: self.longest_wait, admission })
    }
}

impl Admitted {
    /// Takes a place; waits for one in the order of the requests.
    ///
    /// # Errors
    /// None became free for too long.
    pub(crate) async fn place(self) -> Result<AnswerPlace, EngineError> {
        match timeout(self.longest_wait, self.free.acquire_owned()).await {
            Ok(Ok(place)) => Ok(AnswerPlace { _place: place, _admission: self.admission }),
            // The semaphore is never closed, so this is the other case: the wait is over.
            Ok(Err(_)) | Err(_) => {
                let seconds = self.longest_wait.as_secs();
                Err(EngineError::Overloaded(format!("other answers took all places for {seconds} s: try again")))
            }
        }
    }
}

/// The answer's events. The place is free again when the answer ends, when nobody wants it any more, or when its client reads nothing
/// of it for too long: a client that is stopped or stuck must not keep others from theirs. One that is merely slow gets all of it.
pub(crate) fn for_client(mut events: EventReceiver, place: AnswerPlace) -> ClientEvents {
    let (sender, receiver) = mpsc::channel(UNREAD);
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = sender.closed() => None,
            };
            let Some(event) = event else { return };
            match sender.send_timeout(event, LONGEST_STALL).await {
                Ok(()) => {}
                Err(SendTimeoutError::Closed(_)) => return,
                Err(SendTimeoutError::Timeout(_)) => break,
            }
        }
        drop((events, place));
        tracing::warn!("an answer was cancelled: its client read nothing for {} s", LONGEST_STALL.as_secs());
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

    async fn take(places: &Places) -> Result<AnswerPlace, EngineError> {
        places.admit()?.place().await
    }

    fn overloaded<T>(outcome: Result<T, EngineError>) -> String {
        match outcome {
            Err(EngineError::Overloaded(reason)) => reason,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("there was a place"),
        }
    }

    #[tokio::test]
    async fn whoever_finds_the_queue_full_or_waits_too_long_is_sent_away() {
        let places = Places::new(1, 1, Duration::from_secs(3600));
        let taken = take(&places).await.unwrap();
        let waiting = places.admit().unwrap();
        assert!(overloaded(places.admit()).starts_with("too many requests wait"));
        drop(taken);
        waiting.place().await.unwrap();

        let impatient = Places::new(1, 1, Duration::ZERO);
        let _taken = take(&impatient).await.unwrap();
        assert!(overloaded(take(&impatient).await).starts_with("other answers took all places"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_gets_all_of_its_answer() {
        let places = Places::new(1, 1, Duration::from_secs(3600));
        let (sender, events) = mpsc::unbounded_channel();
        let mut slow = for_client(events, take(&places).await.unwrap());
        for _ in 0..4 * UNREAD {
            sender.send(Ok(EngineEvent::Piece(Piece::Text("a".into())))).unwrap();
        }
        drop(sender);
        let mut read = 0;
        while let Some(event) = slow.recv().await {
            assert!(matches!(event, Ok(EngineEvent::Piece(_))));
            tokio::time::sleep(LONGEST_STALL / 2).await;
            read += 1;
        }
        assert_eq!(read, 4 * UNREAD);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_is_cancelled_and_frees_its_place() {
        let places = Places::new(1, 1, Duration::from_secs(3600));
        let (sender, events) = mpsc::unbounded_channel();
        let mut unread = for_client(events, take(&places).await.unwrap());
        for _ in 0..=UNREAD {
            sender.send(Ok(EngineEvent::Piece(Piece::Text("a".into())))).unwrap();
        }
        sender.closed().await;
        let _free = take(&places).await.unwrap();
        for _ in 0..UNREAD {
            assert!(matches!(unread.recv().await, Some(Ok(EngineEvent::Piece(_)))));
        }
        assert!(overloaded(unread.recv().await.unwrap()).contains("did not read"));
        assert!(unread.recv().await.is_none());
    }

    #[tokio::test]
    async fn an_answer_that_nobody_wants_frees_its_place() {
        let places = Places::new(1, 1, Duration::from_secs(3600));
        let (sender, events) = mpsc::unbounded_channel();
        drop(for_client(events, take(&places).await.unwrap()));
        sender.closed().await;
        let (sender, events) = mpsc::unbounded_channel();
        let mut read = for_client(events, take(&places).await.unwrap());
        sender.send(Ok(EngineEvent::Piece(Piece::Text("a".into())))).unwrap();
        drop(sender);
        assert!(read.recv().await.is_some() && read.recv().await.is_none());
        drop(take(&places).await.unwrap());
    }
}
