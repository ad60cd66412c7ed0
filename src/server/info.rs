//! Routes about the server itself: root, health, models, metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::app::App;
use super::error::ApiError;
use crate::backend::ModelLimits;
use crate::wire::ErrorKind;

/// `GET /` and `HEAD /`: some clients probe it to see whether a server is there.
pub(crate) async fn root() -> &'static str {
    "anyclaude\n\
     Anthropic's Messages API: POST /v1/messages, /v1/messages/count_tokens\n\
     OpenAI's APIs: POST /v1/chat/completions, /v1/responses, /v1/completions\n\
     both: GET /v1/models\n\
     the server: GET /health, /metrics, /cache; POST /cache/clear, /cache/keep-only\n"
}

/// `GET /health`. Our remote backend recognises an anyclaude server by the `server` field, and learns from `prefix_cache` what it
/// can do about the cache. During a warm-up the status is `warming`, with its progress; requests are answered all the same.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Json<Value> {
    let warming = app.cache_report().and_then(|report| report.warming);
    let mut health = json!({
        "status": if warming.is_some() { "warming" } else { "ok" },
        "server": "anyclaude",
        "version": env!("CARGO_PKG_VERSION"),
        "model": app.backend.model(),
        "prefix_cache": app.backend.cache_access(),
        "uptime_s": app.started.elapsed().as_secs(),
    });
    if let Some(warming) = warming {
        health["warming"] = json!({ "done_tokens": warming.done, "total_tokens": warming.total });
    }
    Json(health)
}

/// `GET /v1/models`: the backend's one model, with the fields of Anthropic's list and of OpenAI's.
pub(crate) async fn models(State(app): State<Arc<App>>) -> Json<Value> {
    let id = app.backend.model();
    let described = describe(&app, &id).await;
    Json(json!({ "object": "list", "data": [described], "has_more": false, "first_id": id, "last_id": id }))
}

/// `GET /v1/models/{id}`. Requests for any of Anthropic's models are answered by the local one, so all of them exist.
pub(crate) async fn model(State(app): State<Arc<App>>, id: Result<Path<String>, PathRejection>) -> Result<Json<Value>, ApiError> {
    let Path(id) = id.map_err(|rejection| ApiError::invalid(format!("model: {}", rejection.body_text())))?;
    if id == app.backend.model() || id.starts_with("claude-") {
        Ok(Json(describe(&app, &id).await))
    } else {
        Err(ApiError::new(ErrorKind::NotFound, format!("model: {id}")))
    }
}

/// A model, with its limits under the names of Anthropic (`max_input_tokens`, `max_tokens`) and of servers of chat completions.
async fn describe(app: &App, id: &str) -> Value {
    // A model folder has no creation date, so the server's start stands in. Formatting fails only after the year 9999.
    let created_at = app.started_at.format(&Rfc3339).unwrap_or_default();
    let mut described = json!({
        "type": "model",
        "id": id,
        "display_name": app.backend.model(),
        "created_at": created_at,
        "object": "model",
        "created": app.started_at.unix_timestamp(),
        "owned_by": "anyclaude",
    });
    let ModelLimits { context, output } = app.backend.limits().await;
    if let Some(context) = context {
        described["max_input_tokens"] = context.into();
        described["context_length"] = context.into();
        described["max_tokens"] = output.map_or(context, |output| output.min(context)).into();
    }
    described
}

/// `GET /metrics`, in Prometheus' text format.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    if let Some(report) = app.cache_report() {
        app.metrics.cache.show(&report);
    }
    ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], app.metrics.text())
}
