//! Which handler answers which path, and what happens around every handler.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Uri;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

use super::app::App;
use super::body::BODY_LIMIT;
use super::error::ApiError;
use super::{auth, cache, chat, info, messages, observe};
use crate::wire::{COUNT_TOKENS_PATH, MESSAGES_PATH};

/// All routes. `/` and `/health` need no API key.
pub(crate) fn router(app: Arc<App>) -> Router {
    let guarded = Router::new()
        .route(MESSAGES_PATH, post(messages::messages))
        .route(COUNT_TOKENS_PATH, post(messages::count_tokens))
        .route("/v1/chat/completions", post(chat::completions))
        .route("/v1/models", get(info::models))
        .route("/v1/models/{id}", get(info::model))
        .route("/metrics", get(info::metrics))
        .route("/cache", get(cache::report))
        .route("/cache/clear", post(cache::clear))
        .route("/cache/keep-only", post(cache::keep_only))
        .route_layer(from_fn_with_state(app.clone(), auth::require_key));
    Router::new()
        .route("/", get(info::root))
        .route("/health", get(info::health))
        .merge(guarded)
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .fallback(async |uri: Uri| ApiError::no_such_path(uri.path()))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(observe::catch_panics))
        .layer(from_fn_with_state(app.clone(), observe::observe))
        .with_state(app)
}
