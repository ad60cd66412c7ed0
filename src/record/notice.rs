//! What a recorder reports while it runs.

use super::retention::Removed;
use crate::trace::{ExchangeOutcome, TraceError};
use crate::wire::Usage;

/// Something that happened while recording.
#[derive(Debug)]
pub enum Notice {
    /// An exchange was opened.
    Opened,
    /// This many bytes were passed on to a client.
    Bytes(usize),
    /// An exchange ended, and its trace is on the disk.
    Recorded(Recorded),
    /// Old sessions were removed.
    Removed(Removed),
    /// An exchange, or a part of it, could not be written.
    Failed(TraceError),
}

/// The outline of a recorded exchange.
#[derive(Debug)]
pub struct Recorded {
    /// The name of its session.
    pub session: String,
    /// Its number in the session.
    pub seq: u32,
    /// The request's method.
    pub method: String,
    /// The request's path and query, without secrets.
    pub path: String,
    /// HTTP status; 0 if no response came.
    pub status: u16,
    /// The number of server-sent events.
    pub events: usize,
    /// Microseconds from the request to the first content event.
    pub ttft_us: Option<u64>,
    /// Microseconds from the request to the end of the answer.
    pub e2e_us: Option<u64>,
    /// How it ended.
    pub outcome: ExchangeOutcome,
    /// The token counts in the answer.
    pub usage: Option<Usage>,
}
