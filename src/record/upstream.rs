//! The upstream: a base URL, the HTTP client for it, and how prompts are trimmed for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use reqwest::{Certificate, Url};

use super::error::RecordError;
use crate::backend::trimmed::TrimmedBodies;
use crate::net::is_loopback;
use crate::server::RunToken;
use crate::trace::redact::Redactor;

/// How long connecting may take. Answers have no time limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

const NO_SCHEME: &str = "it must begin with http:// or https://";

/// Where requests are forwarded to: any base URL. It is displayed without credentials.
#[derive(Clone, Debug)]
pub struct Upstream {
    base: Url,
    trimmed: Option<Arc<TrimmedBodies>>,
    /// What the server at the base URL asks of us.
    token: Option<RunToken>,
    /// Who, beside those that the system trusts, may vouch for the upstream.
    authorities: Vec<Certificate>,
}

impl Upstream {
    /// Parses a base URL: `http` or `https`, a host, and a path if there is one.
    ///
    /// # Errors
    /// It is not a base URL.
    pub fn parse(given: &str) -> Result<Self, RecordError> {
        let shown = Redactor::installed().text(given).into_owned();
        let refuse = |reason: &str| RecordError::Upstream { given: shown.clone(), reason: reason.to_owned() };
        if !given.contains("://") {
            return Err(refuse(NO_SCHEME));
        }
        let base = Url::parse(given).map_err(|error| refuse(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(refuse(NO_SCHEME));
        }
        if base.path().trim_end_matches('/').ends_with("/v1") {
            return Err(refuse("it must end before /v1, with which the clients' own paths begin"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(refuse("a base URL has no query and no fragment"));
        }
        Ok(Self { base, trimmed: None, token: None, authorities: Vec::new() })
    }

    /// Trims prompts before they are forwarded. Traces still have what the client sent.
    pub fn trimmed(self, bodies: Arc<TrimmedBodies>) -> Self {
        Self { trimmed: Some(bodies), ..self }
    }

    /// Sends a token with every request.
    pub fn with_token(self, token: RunToken) -> Self {
        Self { token: Some(token), ..self }
    }

    /// Trusts these authorities too.
    pub fn trusting(self, authorities: Vec<Certificate>) -> Self {
        Self { authorities, ..self }
    }

    /// The token that goes with every request, if there is one.
    pub(super) fn token(&self) -> Option<&RunToken> {
        self.token.as_ref()
    }

    /// The body to forward in place of a request's own.
    pub(super) fn body(&self, path: &str, sent: Bytes) -> Bytes {
        match &self.trimmed {
            Some(bodies) => bodies.apply(path, sent),
            None => sent,
        }
    }

    /// The URL for a request's path and query. It is below the base URL, whatever `..` the path has, and however often a server
    /// decodes it.
    pub(super) fn url(&self, path_and_query: &str) -> Result<Url, String> {
        if !path_and_query.starts_with('/') {
            // Joined, it would be a part of the host's name.
            return Err("the request's path does not begin with /".into());
        }
        let base = self.base.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}{path_and_query}")).map_err(|e| e.to_string())?;
        let below = url.path().strip_prefix(self.base.path().trim_end_matches('/'));
        match below {
            Some(rest) if rest.starts_with('/') && !goes_up(rest) => Ok(url),
            _ => Err("the request's path leaves the base URL's".into()),
        }
    }

    /// Whether the base URL itself has credentials, which every request gets.
    pub fn has_credentials(&self) -> bool {
        !self.base.username().is_empty() || self.base.password().is_some()
    }

    /// Whether the upstream is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }

    /// Whether the upstream is what listens on a port of this machine's first address.
    pub(super) fn is_at(&self, port: u16) -> bool {
        matches!(self.base.host_str(), Some("127.0.0.1" | "localhost")) && self.base.port_or_known_default() == Some(port)
    }

    /// A client that changes nothing: it follows no redirects, decompresses nothing and sets no time limit on answers.
    pub(super) fn client(&self) -> Result<reqwest::Client, reqwest::Error> {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .tls_certs_merge(self.authorities.iter().cloned());
        if self.is_loopback() { builder.no_proxy().build() } else { builder.build() }
    }
}

/// Whether a part of a path, decoded once or more often, is `..`. Some servers decode before they split, and at `\` too.
fn goes_up(path: &str) -> bool {
    let mut path = path.to_owned();
    loop {
        if path.split(['/', '\\']).any(|part| part == "..") {
            return true;
        }
        let decoded = percent_decode_str(&path).decode_utf8_lossy().into_owned();
        // Each decoding makes it shorter, or is the last.
        if decoded.len() >= path.len() {
            return false;
        }
        path = decoded;
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.base.scheme(), self.base.host_str().unwrap_or_default())?;
        if let Some(port) = self.base.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(&Redactor::installed().path(self.base.path().trim_end_matches('/')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_to_the_base() {
        for (base, expected) in [
            ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages?beta=true"),
            ("http://127.0.0.1:8081/", "http://127.0.0.1:8081/v1/messages?beta=true"),
            ("https://host/anthropic/", "https://host/anthropic/v1/messages?beta=true"),
        ] {
            let upstream = Upstream::parse(base).unwrap();
            assert_eq!(upstream.url("/v1/messages?beta=true").unwrap().as_str(), expected);
        }
    }

    #[test]
    fn no_path_leaves_the_base() {
        let upstream = Upstream::parse("https://host/anthropic").unwrap();
        for path in ["/../admin", "/v1/../../admin", "/%2e%2e/admin", "/v1/.%2E/..", "/../anthropic2/x"] {
            assert!(upstream.url(path).is_err(), "{path}");
        }
        for path in ["/..%2f..%2fadmin", "/%2e%2e%5cadmin", "/v1/%252e%252e%252fadmin", "/v1/%2e%2e%2F%2E%2E/x"] {
            assert!(upstream.url(path).is_err(), "{path}");
        }
        for path in ["*", "", "v1/messages", ".evil.example/v1", ":1/v1", "@evil.example/v1"] {
            assert!(Upstream::parse("http://host").unwrap().url(path).is_err(), "{path}");
        }
        for path in ["/v1/a%2Fb", "/v1/..a", "/v1/100%25", "/v1/%ff", "/v1/a..%2f"] {
            assert!(upstream.url(path).is_ok(), "{path}");
        }
        assert_eq!(upstream.url("/v1/x/../messages").unwrap().path(), "/anthropic/v1/messages");
        assert_eq!(Upstream::parse("https://host").unwrap().url("/../v1").unwrap().path(), "/v1");
    }

    #[test]
    fn anything_but_a_base_url_is_refused_with_the_next_step() {
        let others = ["", "localhost:8081", "host/v1", "ftp://x", "http://", "http://x/?a=b", "http://x/api/v1/"];
        insta::assert_snapshot!(others.map(|text| Upstream::parse(text).unwrap_err().to_string()).join("\n"), @"
        : it must begin with http:// or https://; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
        localhost:8081: it must begin with http:// or https://; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
        host/v1: it must begin with http:// or https://; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
        ftp://x: it must begin with http:// or https://; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
        http://: empty host; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
        http://x/?a=b: a base URL has no query and no fragment; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
        http://x/api/v1/: it must end before /v1, with which the clients' own paths begin; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
        ");
    }

    #[test]
    fn credentials_are_not_shown() {
        assert_eq!(Upstream::parse("https://me:pw@host:8443/a/").unwrap().to_string(), "https://host:8443/a");
        let key = format!("{}{}", "sk-ant-", "api03-Zk3vQ9xT");
        assert_eq!(Upstream::parse(&format!("https://host/{key}/a")).unwrap().to_string(), "https://host/[redacted]");
        let refused = Upstream::parse("https://me:hunter2@host/?a=b").unwrap_err().to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}
