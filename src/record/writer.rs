//! The thread that writes all exchanges of a recorder.
//!
//! One thread, and one that gives way where the system allows it: what is recorded must not slow down what passes. No async
//! task ever waits for the disk here but the one that asks for its trace to be saved.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::{io, thread};

use tokio::sync::{OwnedSemaphorePermit, mpsc as tokio_mpsc, oneshot};

use super::Notice;
use super::exchange_file::{Entry, ExchangeFile, Incoming};
use crate::trace::ExchangeOutcome;

/// What the thread is told about the exchange of a number.
enum Message {
    /// It begins. The permit is held until everything is on the disk.
    Open(Box<Incoming>, Arc<OwnedSemaphorePermit>),
    Add(Entry),
    Close,
}

/// The way to the thread, which ends when nobody has it any more.
#[derive(Debug)]
pub(super) struct Writer {
    messages: mpsc::Sender<(u32, Message)>,
}

/// The way to the thread for one exchange. Dropping it ends the recording; what is unsaved then is saved as truncated.
pub(super) struct ExchangeWriter {
    seq: u32,
    messages: mpsc::Sender<(u32, Message)>,
}

impl Writer {
    /// Starts the thread.
    pub fn start(notices: tokio_mpsc::UnboundedSender<Notice>) -> io::Result<Self> {
        let (messages, receiver) = mpsc::channel();
        thread::Builder::new().name("trace writer".into()).spawn(move || write(&receiver, &notices))?;
        Ok(Self { messages })
    }

    /// Begins an exchange.
    pub fn open(&self, incoming: Incoming, permit: Arc<OwnedSemaphorePermit>) -> ExchangeWriter {
        let writer = ExchangeWriter { seq: incoming.seq, messages: self.messages.clone() };
        writer.tell(Message::Open(Box::new(incoming), permit));
        writer
    }
}

impl ExchangeWriter {
    /// Hands an entry over; never waits.
    pub fn add(&self, entry: Entry) {
        self.tell(Message::Add(entry));
    }

    /// Returns when the trace is on the disk, or has failed to get there, which the thread tells.
    pub async fn save(&self, outcome: ExchangeOutcome, ended_us: Option<u64>) {
        let (done, saved) = oneshot::channel();
        self.add(Entry::Save { outcome, ended_us, done });
        saved.await.ok();
    }

    fn tell(&self, message: Message) {
        // The thread ends only when this sender is gone.
        self.messages.send((self.seq, message)).ok();
    }
}

impl Drop for ExchangeWriter {
    fn drop(&mut self) {
        self.tell(Message::Close);
    }
}

/// The thread.
fn write(messages: &mpsc::Receiver<(u32, Message)>, notices: &tokio_mpsc::UnboundedSender<Notice>) {
    give_way();
    let mut open = HashMap::new();
    for (seq, message) in messages {
        match message {
            Message::Open(incoming, permit) => {
                open.insert(seq, (ExchangeFile::open(*incoming, notices.clone()), permit));
            }
            Message::Add(entry) => {
                if let Some((file, _)) = open.get_mut(&seq) {
                    file.take(entry);
                }
            }
            Message::Close => {
                if let Some((file, permit)) = open.remove(&seq) {
                    file.close();
                    drop(permit);
                }
            }
        }
    }
}

/// Linux has a priority for each thread. Where it may not be lowered, nothing is lost but time.
#[cfg(target_os = "linux")]
fn give_way() {
    rustix::process::nice(5).ok();
}

#[cfg(not(target_os = "linux"))]
fn give_way() {}
