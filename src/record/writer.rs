//! The thread that writes all exchanges of a recorder.
//!
//! One thread, with a lower priority where the system allows it: recording must not slow down what passes. An async task waits for
//! the thread only where its answer begins or ends: whatever a client has seen, a kill leaves its beginning.
//!
//! And it waits where the disk is slower than the upstreams for so long that much is queued. Then the upstreams are read no faster
//! than the disk writes. Without that the queue would fill the memory, and the system would end the process with all that is in
//! it; leaving something out of a trace, or sending a client away, is no choice for a recorder.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::{io, thread};

use axum::http::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc as tokio_mpsc, oneshot};

use super::exchange_file::{ExchangeFile, ExchangeUpdate, IncomingRequest};
use super::notice::Notice;
use super::priority::lower_priority;
use crate::trace::ExchangeOutcome;
use crate::trace::redact::Redactor;

/// What the thread is to do for one exchange.
enum WriterCommand {
    /// Begin it. The permit is held until everything is on the disk.
    Open(Box<IncomingRequest>, Arc<OwnedSemaphorePermit>),
    Update(ExchangeUpdate),
    Close,
}

impl WriterCommand {
    /// About what it takes while it is queued, in bytes.
    fn bytes(&self) -> usize {
        let content = match self {
            Self::Open(incoming, _) => incoming.body.len(),
            Self::Update(ExchangeUpdate::Event { event, data, .. }) => event.len() + data.len(),
            Self::Update(ExchangeUpdate::Body(body)) => body.len(),
            Self::Update(ExchangeUpdate::Response { .. } | ExchangeUpdate::Save { .. }) | Self::Close => 0,
        };
        size_of::<QueuedCommand>() + content
    }
}

/// A command with the key of its exchange, and what it takes of the queue's room until it is done.
type QueuedCommand = (u64, WriterCommand, Option<OwnedSemaphorePermit>);

/// How much may be queued, in bytes: some seconds of what hundreds of models say. A single command may be larger.
const MOST_QUEUED: usize = 64 << 20;

/// The way to the thread.
#[derive(Clone, Debug)]
struct Queue {
    commands: mpsc::Sender<QueuedCommand>,
    /// A permit for each byte that may still be queued.
    room: Arc<Semaphore>,
}

impl Queue {
    fn new() -> (Self, mpsc::Receiver<QueuedCommand>) {
        let (commands, receiver) = mpsc::channel();
        (Self { commands, room: Arc::new(Semaphore::new(MOST_QUEUED)) }, receiver)
    }

    /// Queues a command. Waits while there is no room, in the order of those that wait.
    async fn send(&self, key: u64, command: WriterCommand) {
        let bytes = command.bytes().min(MOST_QUEUED) as u32;
        // The semaphore is never closed.
        let place = self.room.clone().acquire_many_owned(bytes).await.ok();
        // The thread lives as long as this sender.
        self.commands.send((key, command, place)).ok();
    }

    /// Queues the end of an exchange, which takes next to nothing.
    fn close(&self, key: u64) {
        self.commands.send((key, WriterCommand::Close, None)).ok();
    }
}

/// A handle to the thread. The thread ends with its last handle.
#[derive(Debug)]
pub(super) struct TraceWriter {
    queue: Queue,
    /// The key of the next exchange: sessions number theirs each for itself.
    next: AtomicU64,
}

/// A handle to the thread for one exchange. Dropping it ends the recording: what is not saved by then is saved as truncated.
pub(super) struct ExchangeWriter {
    key: u64,
    queue: Queue,
}

impl TraceWriter {
    /// Starts the thread.
    pub(crate) fn start(notices: tokio_mpsc::UnboundedSender<Notice>, redactor: Redactor) -> io::Result<Self> {
        let (queue, receiver) = Queue::new();
        thread::Builder::new().name("trace writer".into()).spawn(move || write(&receiver, &notices, &redactor))?;
        Ok(Self { queue, next: AtomicU64::new(0) })
    }

    /// Begins an exchange. Waits only while too much is queued.
    pub(crate) async fn open(&self, incoming: IncomingRequest, permit: Arc<OwnedSemaphorePermit>) -> ExchangeWriter {
        let writer = ExchangeWriter { key: self.next.fetch_add(1, Ordering::Relaxed), queue: self.queue.clone() };
        writer.queue.send(writer.key, WriterCommand::Open(Box::new(incoming), permit)).await;
        writer
    }
}

impl ExchangeWriter {
    /// Queues an update. Waits only while too much is queued.
    pub(crate) async fn add(&self, update: ExchangeUpdate) {
        self.queue.send(self.key, WriterCommand::Update(update)).await;
    }

    /// Adds the head of the response. Returns when it and the request are in the partial file, or cannot be written.
    pub(crate) async fn respond(&self, status: u16, headers: HeaderMap) {
        let (done, written) = oneshot::channel();
        self.add(ExchangeUpdate::Response { status, headers, done }).await;
        // Fails only if the thread panicked; then there is nothing to wait for.
        written.await.ok();
    }

    /// Returns when the trace is on the disk, or cannot be written, which the thread reports as a notice. `ended_us`:
    /// microseconds from the request to the end of the body, if it ended in good order.
    pub(crate) async fn save(&self, outcome: ExchangeOutcome, ended_us: Option<u64>) {
        let (done, saved) = oneshot::channel();
        self.add(ExchangeUpdate::Save { outcome, ended_us, done }).await;
        // Fails only if the thread panicked; then there is nothing to wait for.
        saved.await.ok();
    }
}

impl Drop for ExchangeWriter {
    fn drop(&mut self) {
        self.queue.close(self.key);
    }
}

/// The body of the thread.
fn write(commands: &mpsc::Receiver<QueuedCommand>, notices: &tokio_mpsc::UnboundedSender<Notice>, redactor: &Redactor) {
    lower_priority(5);
    let mut open = HashMap::new();
    // A command's place in the queue is free when it is done.
    for (key, command, _place) in commands {
        match command {
            WriterCommand::Open(incoming, permit) => {
                open.insert(key, (ExchangeFile::open(*incoming, redactor, notices.clone()), permit));
            }
            WriterCommand::Update(update) => {
                if let Some((file, _)) = open.get_mut(&key) {
                    file.apply(update);
                }
            }
            WriterCommand::Close => {
                if let Some((file, permit)) = open.remove(&key) {
                    file.close();
                    drop(permit);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn event(bytes: usize) -> ExchangeUpdate {
        ExchangeUpdate::Event { at_us: 0, event: String::new(), data: "x".repeat(bytes) }
    }

    #[tokio::test]
    async fn whoever_queues_more_than_the_thread_writes_waits_and_nothing_is_lost() {
        let (queue, receiver) = Queue::new();
        let writer = ExchangeWriter { key: 7, queue: queue.clone() };
        let other = ExchangeWriter { key: 8, queue };
        writer.add(event(MOST_QUEUED / 2)).await;
        other.add(event(MOST_QUEUED / 4)).await;
        let mut third = Box::pin(writer.add(event(MOST_QUEUED / 2)));
        assert!(third.as_mut().now_or_never().is_none());
        // Small ones come behind it: there is an order.
        let mut fourth = Box::pin(other.add(event(1)));
        assert!(fourth.as_mut().now_or_never().is_none());
        let keys = [receiver.recv().unwrap().0, receiver.recv().unwrap().0];
        tokio::join!(third, fourth);
        let rest = [receiver.recv().unwrap(), receiver.recv().unwrap()].map(|(key, ..)| key);
        assert_eq!((keys, rest), ([7, 8], [7, 8]));
        // What is larger than all room has it alone.
        writer.add(event(2 * MOST_QUEUED)).await;
        let mut behind = Box::pin(other.add(event(1)));
        assert!(behind.as_mut().now_or_never().is_none());
        // The end of an exchange waits for nobody.
        drop(writer);
        drop(receiver.recv().unwrap());
        behind.await;
        assert!(matches!(receiver.recv().unwrap(), (7, WriterCommand::Close, _)));
        assert!(matches!(receiver.recv().unwrap(), (8, WriterCommand::Update(_), _)));
    }
}
