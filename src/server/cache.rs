//! `GET /cache`: the prefix cache's contents and counts. `POST /cache/clear` and `/cache/keep-only`: with them, replay creates
//! its cache states on a server. They are for callers on this machine only.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, OriginalUri, State};
use axum::http::StatusCode;

use super::app::App;
use super::body::JsonBody;
use super::error::ApiError;
use crate::backend::{CacheControl, CacheReport};
use crate::wire::MessagesRequest;

type Caller = (ConnectInfo<SocketAddr>, OriginalUri);

/// Answers with the cache's contents and counts.
pub(crate) async fn report(State(app): State<Arc<App>>) -> Result<Json<CacheReport>, ApiError> {
    let report = app.cache_report().ok_or_else(|| ApiError::not_implemented("this backend does not tell about its cache"))?;
    Ok(Json(report))
}

/// Forgets every cached prefix.
pub(crate) async fn clear(State(app): State<Arc<App>>, caller: Caller) -> Result<StatusCode, ApiError> {
    control(&app, caller)?.clear().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets all but the shared prefix (tools and system prompt) of the Messages request in the body.
pub(crate) async fn keep_only(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(request): JsonBody<MessagesRequest>,
) -> Result<StatusCode, ApiError> {
    control(&app, caller)?.keep_shared_prefix(request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The backend's cache control. For callers on other machines the path does not exist.
fn control(app: &App, (ConnectInfo(peer), OriginalUri(uri)): Caller) -> Result<&dyn CacheControl, ApiError> {
    if !peer.ip().to_canonical().is_loopback() {
        return Err(ApiError::no_such_path(uri.path(), ""));
    }
    app.backend.cache().ok_or_else(|| ApiError::not_implemented("this backend's cache cannot be controlled"))
}
