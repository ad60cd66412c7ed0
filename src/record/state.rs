//! What all exchanges of a recorder share.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::door::Door;
use super::notice::Notice;
use super::session::RecordingSession;
use super::upstream::Upstream;
use super::writer::TraceWriter;

/// What all exchanges of a recorder share.
#[derive(Debug)]
pub(super) struct RecorderState {
    pub door: Arc<Door>,
    pub upstream: Upstream,
    pub client: reqwest::Client,
    pub session: RecordingSession,
    pub writer: TraceWriter,
    pub notices: mpsc::UnboundedSender<Notice>,
    /// An exchange holds one permit until its trace is on the disk.
    pub open: Arc<Semaphore>,
    /// Cancelled when open exchanges must end at once.
    pub cut: CancellationToken,
}

impl RecorderState {
    /// Whether a run's token in a request is forwarded: only if this recorder asks for none and its upstream is on this machine,
    /// where it may be another run's port that does. Nobody else may see a token.
    pub(super) fn passes_token_on(&self) -> bool {
        self.door.token.is_none() && self.upstream.is_loopback()
    }
}
