//! The HTTP server: the Anthropic Messages API, and OpenAI's chat completions, over any backend.
//!
//! Owns routes, limits, authentication, metrics and the shape of errors. Knows nothing of models or files: what answers
//! is a [`Backend`], what ends it is the caller's shutdown future.

mod auth;
mod body;
mod cache;
mod cache_metrics;
mod chat;
mod error;
mod info;
mod messages;
mod meter;
mod metrics;
mod observe;
mod run;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use time::OffsetDateTime;

use crate::backend::{Backend, CacheReport};

use error::ApiError;
use metrics::Metrics;
pub use metrics::Totals;

/// The largest request body that is read, in bytes: Anthropic's own limit.
pub const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// What the server's owner may choose.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The key that requests must carry as `x-api-key` or bearer token. None: nobody is asked.
    pub api_key: Option<String>,
    /// How long a stream may be silent before a `ping` is sent. Clients give up on silence during a long prefill.
    pub ping_every: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { api_key: None, ping_every: Duration::from_secs(2) }
    }
}

/// A backend and what serving it needs. [`Server::run`] answers requests until it is told to stop.
pub struct Server {
    app: Arc<App>,
}

/// What every handler sees.
struct App {
    backend: Arc<dyn Backend>,
    options: ServerOptions,
    metrics: Arc<Metrics>,
    started: Instant,
    started_at: OffsetDateTime,
}

impl App {
    /// What the backend's prefix cache holds and saved, where it tells.
    fn cache_report(&self) -> Option<CacheReport> {
        self.backend.cache()?.report()
    }
}

impl Server {
    /// A server for this backend, not yet listening.
    pub fn new(backend: Arc<dyn Backend>, options: ServerOptions) -> Self {
        let metrics = Arc::new(Metrics::new());
        Self { app: Arc::new(App { backend, options, metrics, started: Instant::now(), started_at: OffsetDateTime::now_utc() }) }
    }

    /// What was served so far.
    pub fn totals(&self) -> Totals {
        self.app.metrics.totals()
    }

    /// What the backend's prefix cache holds and saved, where it tells.
    pub fn cache_report(&self) -> Option<CacheReport> {
        self.app.cache_report()
    }

    fn router(&self) -> Router {
        let app = self.app.clone();
        let guarded = Router::new()
            .route("/v1/messages", post(messages::messages))
            .route("/v1/messages/count_tokens", post(messages::count_tokens))
            .route("/v1/chat/completions", post(chat::completions))
            .route("/v1/models", get(info::models))
            .route("/v1/models/{id}", get(info::model))
            .route("/metrics", get(info::metrics))
            .route("/cache", get(cache::report))
            .route("/cache/clear", post(cache::clear))
            .route("/cache/keep-only", post(cache::warm))
            .route_layer(from_fn_with_state(app.clone(), auth::require_key));
        Router::new()
            .route("/", get(info::root))
            .route("/health", get(info::health))
            .merge(guarded)
            .method_not_allowed_fallback(async || ApiError::method_not_allowed())
            .fallback(async |uri: axum::http::Uri| ApiError::no_such_path(uri.path()))
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .layer(from_fn(observe::catch_panics))
            .layer(from_fn_with_state(app.clone(), observe::observe))
            .with_state(app)
    }
}
