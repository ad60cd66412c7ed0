//! What a recorder reports while it runs.

use std::fmt;

use super::retention::Removed;
use crate::trace::{ExchangeOutcome, TraceError};
use crate::wire::Usage;

/// Something that happened while recording.
#[derive(Debug)]
pub enum Notice {
    /// An exchange was opened.
    Opened(Opened),
    /// More is known of an exchange whose answer is under way.
    Answering(Answering),
    /// This many bytes were passed on to a client.
    Bytes(usize),
    /// An exchange ended, and its trace is on the disk.
    Recorded(Recorded),
    /// Old sessions were removed.
    Removed(Removed),
    /// An exchange, or a part of it, could not be written.
    Failed(TraceError),
    /// An exchange is over, recorded or not.
    Closed(ExchangeName),
}

/// The name of an exchange. No two that are open at the same time have the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeName {
    /// The name of its session.
    pub session: String,
    /// Its number in the session.
    pub seq: u32,
}

impl fmt::Display for ExchangeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:04}", self.session, self.seq)
    }
}

/// A request that came.
#[derive(Debug)]
pub struct Opened {
    /// The exchange that it opened.
    pub exchange: ExchangeName,
    /// The request's path and query, without secrets.
    pub path: String,
    /// The model that it asks for, if it names one.
    pub model: Option<String>,
}

/// What is known of an answer that is under way.
#[derive(Clone, Debug)]
pub struct Answering {
    /// The exchange.
    pub exchange: ExchangeName,
    /// Microseconds from the request to the first content event; `None` if none came yet.
    pub ttft_us: Option<u64>,
    /// The token counts so far; `None` if the answer said none yet.
    pub usage: Option<Usage>,
}

/// The outline of a recorded exchange.
#[derive(Debug)]
pub struct Recorded {
    /// The exchange.
    pub exchange: ExchangeName,
    /// The model that the request asks for, if it names one.
    pub model: Option<String>,
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
