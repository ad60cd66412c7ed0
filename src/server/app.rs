//! What every handler sees.

use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::host_name::HostName;
use super::metrics::Metrics;
use super::page_origin::PageOrigin;
use crate::backend::{Backend, CacheReport};

/// What the server's owner may choose.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The key that requests must carry as `x-api-key` or as a bearer token; `None` to accept every request.
    pub api_key: Option<String>,
    /// How long a stream may be silent before a `ping` is sent. Without pings, clients give up during a long prefill.
    pub ping_every: Duration,
    /// Names by which clients may call this server, beside `localhost` and addresses.
    pub names: Vec<HostName>,
    /// The origins whose web pages may use this server.
    pub allow_origins: Vec<PageOrigin>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { api_key: None, ping_every: Duration::from_secs(2), names: Vec::new(), allow_origins: Vec::new() }
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
