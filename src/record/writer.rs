//! The thread that writes all exchanges of a recorder.
//!
//! One thread, with a lower priority where the system allows it: recording must not slow down what passes. The only async task
//! that waits for the thread is one whose answer begins or ends: whatever a client has seen, a kill leaves its beginning.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::{io, thread};

use axum::http::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, mpsc as tokio_mpsc, oneshot};

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

/// A handle to the thread. The thread ends with its last handle.
#[derive(Debug)]
pub(super) struct TraceWriter {
    /// Commands, each with the key of its exchange.
    commands: mpsc::Sender<(u64, WriterCommand)>,
    /// The key of the next exchange: sessions number theirs each for itself.
    next: AtomicU64,
}

/// A handle to the thread for one exchange. Dropping it ends the recording: what is not saved by then is saved as truncated.
pub(super) struct ExchangeWriter {
    key: u64,
    commands: mpsc::Sender<(u64, WriterCommand)>,
}

impl TraceWriter {
    /// Starts the thread.
    pub(crate) fn start(notices: tokio_mpsc::UnboundedSender<Notice>, redactor: Redactor) -> io::Result<Self> {
        let (commands, receiver) = mpsc::channel();
        thread::Builder::new().name("trace writer".into()).spawn(move || write(&receiver, &notices, &redactor))?;
        Ok(Self { commands, next: AtomicU64::new(0) })
    }

    /// Begins an exchange.
    pub(crate) fn open(&self, incoming: IncomingRequest, permit: Arc<OwnedSemaphorePermit>) -> ExchangeWriter {
        let writer = ExchangeWriter { key: self.next.fetch_add(1, Ordering::Relaxed), commands: self.commands.clone() };
        writer.send(WriterCommand::Open(Box::new(incoming), permit));
        writer
    }
}

impl ExchangeWriter {
    /// Queues an update. Never waits.
    pub(crate) fn add(&self, update: ExchangeUpdate) {
        self.send(WriterCommand::Update(update));
    }

    /// Adds the head of the response. Returns when it and the request are in the partial file, or cannot be written.
    pub(crate) async fn respond(&self, status: u16, headers: HeaderMap) {
        let (done, written) = oneshot::channel();
        self.add(ExchangeUpdate::Response { status, headers, done });
        // Fails only if the thread panicked; then there is nothing to wait for.
        written.await.ok();
    }

    /// Returns when the trace is on the disk, or cannot be written, which the thread reports as a notice. `ended_us`:
    /// microseconds from the request to the end of the body, if it ended in good order.
    pub(crate) async fn save(&self, outcome: ExchangeOutcome, ended_us: Option<u64>) {
        let (done, saved) = oneshot::channel();
        self.add(ExchangeUpdate::Save { outcome, ended_us, done });
        // Fails only if the thread panicked; then there is nothing to wait for.
        saved.await.ok();
    }

    fn send(&self, command: WriterCommand) {
        // The thread lives as long as this sender.
        self.commands.send((self.key, command)).ok();
    }
}

impl Drop for ExchangeWriter {
    fn drop(&mut self) {
        self.send(WriterCommand::Close);
    }
}

/// The body of the thread.
fn write(commands: &mpsc::Receiver<(u64, WriterCommand)>, notices: &tokio_mpsc::UnboundedSender<Notice>, redactor: &Redactor) {
    lower_priority(5);
    let mut open = HashMap::new();
    for (key, command) in commands {
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
