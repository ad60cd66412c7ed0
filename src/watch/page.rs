//! Serving the pages to this machine's browsers.
//!
//! Only who knows the address gets in: it has a random token. Requests under foreign names and from foreign web pages are turned
//! away, as at every port.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::http::{Method, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::view::{Shown, View};
use crate::server::{Allowed, Connections, RunToken, refusal, serve};

/// How often the files are looked at for a page that is open.
const EVERY: Duration = Duration::from_millis(250);

/// The most connections at once: a browser opens six. The recorder counts their descriptors.
const MOST: usize = 16;

/// The pages of a recorder's folder, at a port of their own. They are served once they are run.
#[derive(Debug)]
pub struct RecorderPage {
    listener: TcpListener,
    root: PathBuf,
    token: RunToken,
}

/// What all requests share.
struct PageState {
    shown: Arc<Shown>,
    token: RunToken,
    allowed: Allowed,
    stopping: CancellationToken,
}

impl RecorderPage {
    /// Listens on 127.0.0.1; port 0 takes any free one. `root`: the folder of the sessions' folders.
    ///
    /// # Errors
    /// The port is taken, or the system gives no random token.
    pub async fn bind(root: PathBuf, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        Ok(Self { listener, root, token: RunToken::random()? })
    }

    /// The address of the first page, with the token. Whoever has it sees all.
    ///
    /// # Errors
    /// The system does not report the socket's address.
    pub fn address(&self) -> io::Result<String> {
        Ok(format!("http://{}/{}/", self.listener.local_addr()?, self.token.secret()))
    }

    /// Serves until it is to stop.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn run(self, stopping: CancellationToken) -> io::Result<()> {
        let Self { listener, root, token } = self;
        let stopped = stopping.clone().cancelled_owned();
        let shown = Arc::new(Shown::new(root));
        let state = PageState { shown, token, allowed: Allowed::default(), stopping };
        let routes = Router::new().fallback(answer).with_state(Arc::new(state));
        serve(listener, Connections::new(routes), MOST, stopped).await
    }
}

async fn answer(State(state): State<Arc<PageState>>, request: Request) -> Response {
    if let Err(error) = state.allowed.check(request.uri(), request.headers()) {
        return refusal(&request, error);
    }
    if request.method() != Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let path = request.uri().path().to_owned();
    let path: Vec<&str> = path.split('/').collect();
    // It begins with a slash, and the last part says whether the page is asked for or its changes.
    let ["", token, path @ .., last] = &path[..] else { return StatusCode::NOT_FOUND.into_response() };
    let view = if state.token.is(token) { View::at(path) } else { None };
    let answer = match (view, *last) {
        (Some(view), "") => page(&state, view).await,
        (Some(view), "live") => live(state, view),
        _ => StatusCode::NOT_FOUND.into_response(),
    };
    let headers = [
        (CACHE_CONTROL, "no-store"),
        // The address has the token.
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, answer).into_response()
}

async fn page(state: &PageState, view: View) -> Response {
    let shown = state.shown.clone();
    match spawn_blocking(move || view.page(&shown)).await {
        Ok(page) => Html(page).into_response(),
        // Rendering panicked.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The states of what a page shows, each when the files have changed. `end` comes after the last one.
fn live(state: Arc<PageState>, view: View) -> Response {
    let stopped = state.stopping.clone().cancelled_owned();
    let states = stream! {
        let mut clock = tokio::time::interval(EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = None;
        loop {
            clock.tick().await;
            let (view, shown) = (view.clone(), state.shown.clone());
            let Ok(changed) = spawn_blocking(move || view.changed(&shown, seen)).await else { break };
            let Some((number, part)) = changed else { continue };
            seen = Some(number);
            yield Event::default().json_data(part.html.into_string());
            if part.is_last {
                yield Ok(Event::default().event("end").data("the exchange is over"));
                break;
            }
        }
    };
    Sse::new(states.take_until(stopped)).keep_alive(KeepAlive::default()).into_response()
}

#[cfg(test)]
mod tests {
    use reqwest::Client;

    use super::*;

    #[tokio::test]
    async fn only_who_knows_the_address_gets_in_and_no_foreign_page() {
        let root = tempfile::tempdir().unwrap();
        let page = RecorderPage::bind(root.path().to_owned(), 0).await.unwrap();
        let address = page.address().unwrap();
        let stopping = CancellationToken::new();
        let served = tokio::spawn(page.run(stopping.clone()));
        let client = Client::builder().no_proxy().build().unwrap();
        let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
        let other = format!("{}/{}/", address.rsplitn(3, '/').nth(2).unwrap(), RunToken::random().unwrap().secret());
        assert_eq!(status(client.get(&address)).await, 200);
        assert_eq!(status(client.get(&other)).await, 404);
        assert_eq!(status(client.get(format!("{address}s/.hidden/"))).await, 404);
        assert_eq!(status(client.get(&address).header("origin", "https://evil.example")).await, 403);
        assert_eq!(status(client.get(&address).header("host", "evil.example")).await, 403);
        assert_eq!(status(client.post(&address)).await, 405);
        // A page that is open does not keep the recorder from ending.
        let mut open = client.get(format!("{address}live")).send().await.unwrap();
        let first = open.chunk().await.unwrap().unwrap();
        assert!(first.starts_with(b"data: \"<p>No session yet.</p>\""), "{first:?}");
        stopping.cancel();
        while open.chunk().await.unwrap().is_some() {}
        served.await.unwrap().unwrap();
    }
}
