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
use axum::response::{Html, IntoResponse, Redirect, Response};
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::renderer::Renderer;
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
    renderer: Renderer,
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
    /// The listener fails, or the system gives no thread.
    pub async fn run(self, stopping: CancellationToken) -> io::Result<()> {
        let Self { listener, root, token } = self;
        let stopped = stopping.clone().cancelled_owned();
        let shown = Arc::new(Shown::new(root));
        let renderer = Renderer::start().map_err(io::Error::other)?;
        let state = PageState { shown, renderer, token, allowed: Allowed::default(), stopping };
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
    let ["", token, below @ ..] = &path[..] else { return StatusCode::NOT_FOUND.into_response() };
    if !state.token.is(token) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let above = below.split_last().and_then(|(last, path)| Some((*last, View::at(path)?)));
    let answer = match above {
        Some(("", view)) => page(&state, view).await,
        Some(("live", view)) => live(state, view),
        // People copy addresses without the last slash. What the page leads to is relative to it.
        _ if View::at(below).is_some() => Redirect::permanent(&format!("{}/", request.uri().path())).into_response(),
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
    match state.renderer.render(move || view.page(&shown)).await {
        Some(page) => Html(page).into_response(),
        // Rendering panicked.
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The states of what a page shows, each when the files have changed. `end` comes after the last one, `bye` when the recorder
/// ends.
fn live(state: Arc<PageState>, view: View) -> Response {
    let stopping = state.stopping.clone();
    let stopped = stopping.clone().cancelled_owned();
    let states = stream! {
        let mut clock = tokio::time::interval(EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = None;
        loop {
            clock.tick().await;
            let look = (view.clone(), state.shown.clone());
            let Ok(has_changed) = spawn_blocking(move || look.0.has_changed(&look.1, seen)).await else { break };
            if !has_changed {
                continue;
            }
            let (view, shown) = (view.clone(), state.shown.clone());
            let Some(changed) = state.renderer.follow(move || view.changed(&shown, seen)).await else { break };
            let Some((number, part)) = changed else { continue };
            seen = Some(number);
            yield Event::default().json_data(part.html.into_string());
            if part.is_last {
                yield Ok(Event::default().event("end").data("the exchange is over"));
                break;
            }
        }
    };
    let bye = stream! {
        if stopping.is_cancelled() {
            yield Ok(Event::default().event("bye").data("the recorder has ended"));
        }
    };
    Sse::new(states.take_until(stopped).chain(bye)).keep_alive(KeepAlive::default()).into_response()
}

#[cfg(test)]
mod tests {
    use reqwest::Client;

    use super::*;

    /// A page that is served until it is to stop.
    struct Served {
        address: String,
        stopping: CancellationToken,
        running: tokio::task::JoinHandle<io::Result<()>>,
        client: Client,
    }

    impl Served {
        async fn of(root: &std::path::Path) -> Self {
            let page = RecorderPage::bind(root.to_owned(), 0).await.unwrap();
            let (address, stopping) = (page.address().unwrap(), CancellationToken::new());
            let running = tokio::spawn(page.run(stopping.clone()));
            let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
            Self { address, stopping, running, client }
        }

        fn get(&self, below: &str) -> reqwest::RequestBuilder {
            self.client.get(format!("{}{below}", self.address))
        }
    }

    #[tokio::test]
    async fn only_who_knows_the_address_gets_in_and_no_foreign_page() {
        let root = tempfile::tempdir().unwrap();
        let served = Served::of(root.path()).await;
        let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
        let other = format!("{}/{}/", served.address.rsplitn(3, '/').nth(2).unwrap(), RunToken::random().unwrap().secret());
        assert_eq!(status(served.get("")).await, 200);
        assert_eq!(status(served.client.get(&other)).await, 404);
        assert_eq!(status(served.client.get(other.trim_end_matches('/'))).await, 404);
        assert_eq!(status(served.get("s/.hidden/")).await, 404);
        assert_eq!(status(served.get("").header("origin", "https://evil.example")).await, 403);
        assert_eq!(status(served.get("").header("host", "evil.example")).await, 403);
        assert_eq!(status(served.client.post(&served.address)).await, 405);
        let page = served.get("").send().await.unwrap();
        let headers = ["cache-control", "referrer-policy", "x-frame-options", "x-content-type-options"];
        let headers = headers.map(|name| page.headers()[name].to_str().unwrap());
        assert_eq!(headers, ["no-store", "no-referrer", "DENY", "nosniff"]);
        // A page that is open does not keep the recorder from ending, and learns of it.
        let mut open = served.get("live").send().await.unwrap();
        let first = open.chunk().await.unwrap().unwrap();
        assert!(first.starts_with(b"data: \"<p>No session yet.</p>\""), "{first:?}");
        served.stopping.cancel();
        let rest = open.text().await.unwrap();
        assert!(rest.contains("event: bye\n"), "{rest}");
        served.running.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_address_without_its_last_slash_leads_to_the_page() {
        let root = tempfile::tempdir().unwrap();
        let served = Served::of(root.path()).await;
        for below in ["", "s/a/", "s/a/before/3/", "s/a/1/"] {
            let whole = format!("{}{below}", served.address);
            let answer = served.client.get(whole.trim_end_matches('/')).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 308, "{below}");
            assert!(whole.ends_with(answer.headers()["location"].to_str().unwrap()), "{answer:?}");
        }
        for below in ["s", "s/.hidden", "x", "s/a/b"] {
            assert_eq!(served.get(below).send().await.unwrap().status().as_u16(), 404, "{below}");
        }
    }

    #[tokio::test]
    async fn what_will_not_change_any_more_is_followed_to_its_end() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("s")).unwrap();
        for name in ["0001.json", "0002.json"] {
            std::fs::copy(format!("traces/read-file/{name}"), root.path().join("s").join(name)).unwrap();
        }
        let served = Served::of(root.path()).await;
        // It ends by itself: the recorder goes on.
        let states = served.get("s/s/1/live").send().await.unwrap().text().await.unwrap();
        assert!(states.starts_with("data: ") && states.contains("event: end\n") && !states.contains("event: bye"), "{states}");
        let mut last = served.get("s/s/2/live").send().await.unwrap();
        assert!(last.chunk().await.unwrap().unwrap().starts_with(b"data: "));
        served.stopping.cancel();
        let rest = last.text().await.unwrap();
        assert!(!rest.contains("event: end") && rest.contains("event: bye"), "{rest}");
    }
}
