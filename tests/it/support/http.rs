//! Requests and whole answers, for tests that look at no stream; and the client for those that do.

use std::sync::LazyLock;

use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::deadline::PATIENCE;

/// A whole answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Reply {
    pub status: u16,
    pub text: String,
    /// The header of this name.
    pub retry_after: Option<String>,
}

impl Reply {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts that the status is one of success.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert!((200..300).contains(&self.status), "{self:?}");
        self
    }
}

/// A client that goes through no proxy and fails where an answer does not end.
pub(crate) fn client() -> Client {
    Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

/// What a path is answered.
#[track_caller]
pub(crate) fn get(url: &str) -> Reply {
    send(client().get(url)).unwrap()
}

/// What a JSON body is answered.
#[track_caller]
pub(crate) fn post(url: &str, body: &Value) -> Reply {
    send(client().post(url).json(body)).unwrap()
}

/// The whole answer, or why there is none.
pub(crate) fn send(request: RequestBuilder) -> Result<Reply, reqwest::Error> {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    RUNTIME.block_on(async {
        let response = request.send().await?;
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Reply { status: response.status().as_u16(), retry_after, text: response.text().await? })
    })
}
