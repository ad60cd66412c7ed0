//! What all our HTTP clients need: which addresses are local, readable errors, and bounds on what servers send.

pub(crate) mod bounds;

use std::net::IpAddr;

use reqwest::Url;

/// Whether a URL is on this machine. Then the proxy in the environment must not be used.
pub(crate) fn is_loopback(url: &Url) -> bool {
    // IPv6 addresses are in brackets.
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
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
