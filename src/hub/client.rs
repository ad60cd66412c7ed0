//! The hub's API: listing a model's repository and reading its files.

use std::env;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RANGE};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use super::cache::token;
use super::content_hash::ContentHash;
use super::{HubError, ModelName};
use crate::net::bounds::{BodyError, whole};
use crate::net::{is_loopback, root_cause};

const HUGGING_FACE: &str = "https://huggingface.co";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest silence before a connection counts as lost.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// What is written as `%…` in the path of a URL: all that could be read as something else than a part of a file's name.
const ESCAPED_IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A client for the hub at a base URL.
#[derive(Clone, Debug)]
pub struct HubClient {
    endpoint: String,
    client: Client,
}

/// The content of a repository at one commit.
#[derive(Clone, Debug, Deserialize)]
pub struct Listing {
    /// The commit's hash.
    #[serde(rename = "sha")]
    pub commit: String,
    /// Its files.
    #[serde(rename = "siblings")]
    pub files: Vec<RemoteFile>,
}

/// One file of a repository.
#[derive(Clone, Debug, Deserialize)]
pub struct RemoteFile {
    /// The path in the repository.
    #[serde(rename = "rfilename")]
    pub path: String,
    /// The size in bytes.
    pub size: u64,
    /// Git's hash of the file, or of the pointer to a large file.
    #[serde(rename = "blobId")]
    blob_id: String,
    lfs: Option<Lfs>,
}

/// A large file, which is kept outside git.
#[derive(Clone, Debug, Deserialize)]
struct Lfs {
    sha256: String,
}

impl RemoteFile {
    /// The hash of its content, in hexadecimal digits: the SHA-256 of a large file, git's own of a small one. It is also the name of
    /// its blob in the cache.
    pub fn hash(&self) -> &str {
        self.lfs.as_ref().map_or(&self.blob_id, |lfs| &lfs.sha256)
    }

    /// What computes that hash of a content.
    pub(super) fn content_hash(&self) -> ContentHash {
        if self.lfs.is_some() { ContentHash::sha256() } else { ContentHash::git(self.size) }
    }
}

impl HubClient {
    /// A client for the hub in `HF_ENDPOINT`, which defaults to Hugging Face's own, with the user's token if there is one.
    ///
    /// # Errors
    /// `HF_ENDPOINT` is not a URL, or the token has characters that no header may have.
    pub fn from_env() -> Result<Self, HubError> {
        let endpoint = env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty());
        let endpoint = endpoint.unwrap_or_else(|| HUGGING_FACE.into()).trim_end_matches('/').to_owned();
        let unusable = |reason: String| HubError::Protocol { endpoint: endpoint.clone(), reason };
        let url = Url::parse(&endpoint).map_err(|error| unusable(error.to_string()))?;
        let mut headers = HeaderMap::new();
        if let Some(token) = token() {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| unusable("HF_TOKEN has characters that no HTTP header may have".into()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder()
            .user_agent(concat!("anyclaude/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_TIMEOUT);
        let client = if is_loopback(&url) { client.no_proxy() } else { client };
        let client = client.build().map_err(|error| unusable(root_cause(&error)))?;
        Ok(Self { endpoint, client })
    }

    /// Lists a model's repository.
    ///
    /// # Errors
    /// The hub cannot be reached, refuses, or does not answer with a listing.
    pub async fn list(&self, name: &ModelName) -> Result<Listing, HubError> {
        let url = format!("{}/api/models/{name}/revision/main?blobs=true", self.endpoint);
        let response = self.send(name, self.client.get(url)).await?;
        let protocol = |reason: String| HubError::Protocol { endpoint: self.endpoint.clone(), reason };
        let body = whole(response).await.map_err(|error| match error {
            BodyError::Broken(error) => self.unreachable(&error),
            BodyError::Size(most) => protocol(format!("its listing is longer than {} MiB", most >> 20)),
            BodyError::Event(_) => protocol(error.to_string()),
        })?;
        let listing: Listing = serde_json::from_slice(&body).map_err(|error| protocol(error.to_string()))?;
        // The hashes become names of files.
        let is_hash = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let whole = is_hash(&listing.commit) && listing.files.iter().all(|file| is_hash(file.hash()));
        if whole { Ok(listing) } else { Err(protocol("something in its listing is no hash".into())) }
    }

    /// Requests a file from byte `from` on. The response has status 206 if its body starts there, and 200 if it starts at 0.
    ///
    /// # Errors
    /// The hub cannot be reached, or refuses.
    pub async fn get(&self, name: &ModelName, commit: &str, file: &str, from: u64) -> Result<Response, HubError> {
        let path = utf8_percent_encode(file, ESCAPED_IN_PATHS);
        let request = self.client.get(format!("{}/{name}/resolve/{commit}/{path}", self.endpoint));
        let request = if from > 0 { request.header(RANGE, format!("bytes={from}-")) } else { request };
        self.send(name, request).await.map_err(|error| match error {
            HubError::NoSuchModel { endpoint, name } => HubError::NoSuchFile { endpoint, name, file: file.into() },
            other => other,
        })
    }

    /// The error for a broken connection.
    pub(super) fn unreachable(&self, error: &reqwest::Error) -> HubError {
        HubError::Unreachable { endpoint: self.endpoint.clone(), reason: root_cause(error) }
    }

    async fn send(&self, name: &ModelName, request: RequestBuilder) -> Result<Response, HubError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let (endpoint, name) = (self.endpoint.clone(), name.clone());
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED => Err(HubError::NotAllowed { endpoint, name }),
            StatusCode::FORBIDDEN => Err(HubError::Gated { endpoint, name }),
            StatusCode::NOT_FOUND => Err(HubError::NoSuchModel { endpoint, name }),
            status => Err(HubError::Answered { endpoint, status: status.as_u16() }),
        }
    }
}
