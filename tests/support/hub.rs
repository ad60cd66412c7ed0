//! A server that speaks the hub's API as far as pulling a model goes, with its quirks: large files live elsewhere, behind a
//! redirect; connections break.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

/// The commit of every repository.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What a repository's files are, and what happens on the way.
#[derive(Default)]
pub struct Repository {
    /// Content by path. A path that ends in `.safetensors` is a large file.
    pub files: BTreeMap<String, Vec<u8>>,
    /// After so many bytes of a large file the connection breaks.
    pub break_after: Option<usize>,
    /// After so many bytes of a large file nothing comes any more.
    pub stall_after: Option<usize>,
    /// Whether large files can be had from the middle on.
    pub without_ranges: bool,
    /// What the hub answers instead of a listing.
    pub refuse: Option<u16>,
    /// Bytes of large files are given wrong.
    pub damage: bool,
    /// The bearer token that must be sent.
    pub token: Option<&'static str>,
}

/// The running server.
pub struct Hub {
    pub url: String,
    state: Arc<Shared>,
}

struct Shared {
    repository: Mutex<Repository>,
    /// Path and range of every request for a large file.
    asked: Mutex<Vec<String>>,
}

impl Hub {
    /// Serves one repository, `org/tiny`.
    pub async fn start(repository: Repository) -> Self {
        let state = Arc::new(Shared { repository: Mutex::new(repository), asked: Mutex::default() });
        let app = Router::new()
            .route("/api/models/org/tiny/revision/main", get(listing))
            .route("/org/tiny/resolve/{commit}/{file}", get(resolve))
            .route("/storage/{file}", get(storage))
            .with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, state }
    }

    /// What large files were asked for so far, `file from`.
    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap().clone()
    }

    /// Changes what happens from now on.
    pub fn change(&self, change: impl FnOnce(&mut Repository)) {
        change(&mut self.state.repository.lock().unwrap());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

async fn listing(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let repository = shared.repository.lock().unwrap();
    let token = headers.get("authorization").and_then(|value| value.to_str().ok());
    if repository.token.is_some_and(|wanted| token != Some(&format!("Bearer {wanted}"))) {
        return (StatusCode::UNAUTHORIZED, "Invalid username or password.").into_response();
    }
    if let Some(status) = repository.refuse {
        return (StatusCode::from_u16(status).unwrap(), "no").into_response();
    }
    let files = repository.files.iter().map(|(path, content)| {
        // Git's own hash is SHA-1; here any name will do.
        let blob = &sha256(content)[..40];
        let mut file = json!({"rfilename": path, "size": content.len(), "blobId": blob});
        if path.ends_with(".safetensors") {
            file["lfs"] = json!({"sha256": sha256(content), "size": content.len(), "pointerSize": 135});
        }
        file
    });
    let files: Vec<_> = files.collect();
    axum::Json(json!({"id": "org/tiny", "sha": COMMIT, "private": false, "gated": false, "siblings": files})).into_response()
}

async fn resolve(State(shared): State<Arc<Shared>>, Path((commit, file)): Path<(String, String)>) -> Response {
    if commit != COMMIT {
        return StatusCode::NOT_FOUND.into_response();
    }
    if file.ends_with(".safetensors") {
        return Redirect::temporary(&format!("/storage/{file}")).into_response();
    }
    match shared.repository.lock().unwrap().files.get(&file) {
        Some(content) => content.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn storage(State(shared): State<Arc<Shared>>, Path(file): Path<String>, headers: HeaderMap) -> Response {
    let repository = shared.repository.lock().unwrap();
    let range =
        headers.get("range").and_then(|value| value.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let from: usize = range.unwrap_or(0);
    shared.asked.lock().unwrap().push(format!("{file} {from}"));
    let from = if repository.without_ranges { 0 } else { from };
    let mut content = repository.files[&file][from..].to_vec();
    if repository.damage {
        content[0] ^= 1;
    }
    let status = if range.is_some() && !repository.without_ranges { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let length = content.len();
    let body = match (repository.break_after, repository.stall_after) {
        (Some(after), _) if after < length => {
            let broken = Err(std::io::Error::other("broken"));
            // Hyper sends what came before an error only if it is not ready at once.
            let broken = futures::stream::once(async {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                broken
            });
            Body::from_stream(futures::stream::iter([Ok(Bytes::from(content[..after].to_vec()))]).chain(broken))
        }
        (_, Some(after)) if after < length => {
            let first = Ok::<_, std::io::Error>(Bytes::from(content[..after].to_vec()));
            Body::from_stream(futures::stream::iter([first]).chain(futures::stream::pending()))
        }
        _ => Body::from(content),
    };
    (status, [("content-length", length.to_string())], body).into_response()
}
