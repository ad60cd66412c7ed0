//! What all our HTTP clients need: which addresses are local, readable errors, and bounds on what servers send.

pub(crate) mod bounds;

use std::io;
use std::net::IpAddr;

use reqwest::Url;
use tokio::net::TcpStream;

/// Whether a URL is on this machine. Then the proxy in the environment must not be used.
pub(crate) fn is_loopback(url: &Url) -> bool {
    // IPv6 addresses are in brackets.
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether something listens where a URL of this machine points. Of other machines that is not asked: there may be a proxy before
/// them.
///
/// # Errors
/// Connecting fails.
pub(crate) async fn check_listening(url: &str) -> io::Result<()> {
    let Some(url) = Url::parse(url).ok().filter(is_loopback) else { return Ok(()) };
    match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map(drop),
        _ => Ok(()),
    }
}

/// The first cause of an error, which reqwest's own text leaves out.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    // The cause of this one, "deadline has elapsed", does not say whose.
    if error.is_connect() && error.is_timeout() {
        return "connecting timed out".to_owned();
    }
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.last().map_or_else(|| error.to_string(), |cause| cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_recognised_by_name_and_address() {
        for (url, expected) in [
            ("http://localhost:1", true),
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:1", true),
            ("https://api.anthropic.com", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
