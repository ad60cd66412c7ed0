//! Which handler answers which path, and what happens around every handler.

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

use super::app::App;
use super::body::BODY_LIMIT;
use super::body_room::{self, BodyRoom};
use super::error::ApiError;
use super::{auth, cache, chat, client, completions, foreign, info, messages, observe, path, responses};
use crate::wire::{CHAT_COMPLETIONS_PATH, COMPLETIONS_PATH, COUNT_TOKENS_PATH, MESSAGES_PATH, MODELS_PATH, RESPONSES_PATH};

/// All routes: those that [`info::root`] names. `/` and `/health` need no API key.
pub(crate) fn router(app: Arc<App>) -> Router {
    let guarded = Router::new()
        .route(MESSAGES_PATH, post(messages::messages))
        .route(COUNT_TOKENS_PATH, post(messages::count_tokens))
        .route(CHAT_COMPLETIONS_PATH, post(chat::completions))
        .route(COMPLETIONS_PATH, post(completions::completions))
        .route(RESPONSES_PATH, post(responses::responses))
        .route(MODELS_PATH, get(info::models))
        .route("/v1/models/{id}", get(info::model))
        .route("/metrics", get(info::metrics))
        .route("/cache", get(cache::report))
        .route("/cache/clear", post(cache::clear))
        .route("/cache/keep-only", post(cache::keep_only))
        .route_layer(from_fn_with_state(BodyRoom::new(app.options.request_memory.max(BODY_LIMIT)), body_room::hold))
        .route_layer(from_fn_with_state(app.clone(), auth::require_key));
    let routes = Router::new()
        .route("/", get(info::root))
        .route("/health", get(info::health))
        .merge(guarded)
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .fallback(async |uri: Uri| path::unknown(&uri))
        .layer(from_fn(observe::catch_panics))
        .layer(from_fn(client::watch));
    let routes = match app.options.allowed.cors() {
        Some(cors) => routes.layer(cors),
        None => routes,
    };
    let routes = routes
        .layer(from_fn_with_state(Arc::new(app.options.allowed.clone()), foreign::refuse))
        .layer(from_fn_with_state(app.clone(), observe::observe))
        .with_state(app);
    // A layer of the router itself would come after the path has chosen the route.
    Router::new().fallback_service(routes).layer(from_fn(path::tidy))
}
