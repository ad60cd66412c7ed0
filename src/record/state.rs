//! What all exchanges of a recorder share.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::door::Door;
use super::notice::Notice;
use super::sessions::Sessions;
use super::upstream::Upstream;
use super::upstreams::UpstreamRoute;
use super::writer::TraceWriter;

/// What all exchanges of a recorder share.
#[derive(Debug)]
pub(super) struct RecorderState {
    pub door: Arc<Door>,
    /// The upstreams, each with its client, the longest prefix first.
    pub routes: Vec<(UpstreamRoute, reqwest::Client)>,
    pub sessions: Sessions,
    pub writer: TraceWriter,
    pub notices: mpsc::UnboundedSender<Notice>,
    /// An exchange holds one permit until its trace is on the disk.
    pub open: Arc<Semaphore>,
    /// Room for the bodies of requests: a permit for each byte.
    pub bodies: Arc<Semaphore>,
    /// Cancelled when open exchanges must end at once.
    pub cut: CancellationToken,
}

impl RecorderState {
    /// Whether a run's token in a request is forwarded: only if this recorder asks for none and the upstream is on this machine,
    /// where it may be another run's port that does. Nobody else may see a token.
    pub(super) fn passes_token_on(&self, upstream: &Upstream) -> bool {
        self.door.token.is_none() && upstream.is_loopback()
    }

    /// Where a request with this path and query goes; `None` if no upstream has its prefix.
    pub(super) fn destination(&self, path_and_query: &str) -> Option<Destination> {
        let forwarded = |(route, client): &(UpstreamRoute, reqwest::Client)| {
            let path = route.forwarded(path_and_query)?;
            Some(Destination { upstream: route.upstream.clone(), client: client.clone(), path })
        };
        self.routes.iter().find_map(forwarded)
    }
}

/// Where a request goes.
pub(super) struct Destination {
    pub upstream: Upstream,
    pub client: reqwest::Client,
    /// Path and query, as they are forwarded.
    pub path: String,
}
