//! `GET /cache`: what the prefix cache holds and saved. `POST /cache/clear` and `/cache/warm`: how replay creates its states
//! on a server, for callers on this machine only.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, OriginalUri, State};
use axum::http::StatusCode;

use super::App;
use super::body::JsonBody;
use super::error::ApiError;
use crate::backend::{CacheControl, CacheReport};
use crate::wire::MessagesRequest;

type Caller = (ConnectInfo<SocketAddr>, OriginalUri);

/// What the cache holds and what it saved.
pub async fn report(State(app): State<Arc<App>>) -> Result<Json<CacheReport>, ApiError> {
    let report = app.cache_report().ok_or_else(|| ApiError::not_implemented("this backend does not tell about its cache"))?;
    Ok(Json(report))
}

/// Forgets every cached prefix.
pub async fn clear(State(app): State<Arc<App>>, caller: Caller) -> Result<StatusCode, ApiError> {
    control(&app, caller)?.clear().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Leaves just the shared prefix (tools and system prompt) of the request in the body.
pub async fn warm(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(request): JsonBody<MessagesRequest>,
) -> Result<StatusCode, ApiError> {
    control(&app, caller)?.keep_shared_prefix(request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The backend's cache control. To callers from elsewhere the path does not exist.
fn control(app: &App, (ConnectInfo(peer), OriginalUri(uri)): Caller) -> Result<&dyn CacheControl, ApiError> {
    if !peer.ip().to_canonical().is_loopback() {
        return Err(ApiError::no_such_path(uri.path()));
    }
    app.backend.cache().ok_or_else(|| ApiError::not_implemented("this backend's cache cannot be controlled"))
}
