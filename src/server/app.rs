//! The state that all handlers share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::foreign::Allowed;
use super::metrics::Metrics;
use crate::backend::{Backend, CacheReport};

/// The options of a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The key that requests must carry as `x-api-key` or as a bearer token; `None` to accept every request.
    pub api_key: Option<String>,
    /// How long a stream may be silent before a `ping` is sent. Without pings, clients give up during a long prefill.
    pub ping_every: Duration,
    /// The names and web pages that may use this server.
    pub allowed: Allowed,
    /// How much memory the bodies of requests may take at once, in bytes. There is always room for one of the largest.
    pub request_memory: usize,
}

/// The default of [`ServerOptions::request_memory`], in bytes: seven of the largest requests.
const REQUEST_MEMORY: usize = 256_000_000;

impl Default for ServerOptions {
    fn default() -> Self {
        Self { api_key: None, ping_every: Duration::from_secs(2), allowed: Allowed::default(), request_memory: REQUEST_MEMORY }
    }
}

/// The state of one server.
pub(crate) struct App {
    pub backend: Arc<dyn Backend>,
    pub options: ServerOptions,
    pub metrics: Arc<Metrics>,
    pub started: Instant,
    pub started_at: OffsetDateTime,
}

impl App {
    /// The state of a server that starts now.
    pub(crate) fn new(backend: Arc<dyn Backend>, options: ServerOptions) -> Self {
        Self {
            backend,
            options,
            metrics: Arc::new(Metrics::new()),
            started: Instant::now(),
            started_at: OffsetDateTime::now_utc(),
        }
    }

    /// The contents and counts of the backend's prefix cache, if it reports them.
    pub(crate) fn cache_report(&self) -> Option<CacheReport> {
        self.backend.cache()?.report()
    }
}
