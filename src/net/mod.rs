//! What all our HTTP clients need: which addresses are local, readable errors, and bounds on what servers send.

pub(crate) mod bounds;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Whether a URL is on this machine. Then the proxy in the environment must not be used.
pub(crate) fn is_loopback(url: &Url) -> bool {
    // IPv6 addresses are in brackets.
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What is said of a server that takes no connection: its system does not refuse it either.
const CONNECTING_TIMED_OUT: &str = "connecting timed out";

/// Whether something listens where a URL of this machine points, and takes a connection within a limit. Of other machines that is
/// not asked: there may be a proxy before them.
///
/// # Errors
/// Connecting fails, or takes too long.
pub(crate) async fn check_listening(url: &str, limit: Duration) -> io::Result<()> {
    let Some(url) = Url::parse(url).ok().filter(is_loopback) else { return Ok(()) };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return Ok(()) };
    match timeout(limit, TcpStream::connect((host.trim_matches(['[', ']']), port))).await {
        Ok(connected) => connected.map(drop),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, CONNECTING_TIMED_OUT)),
    }
}

/// The first cause of an error, which reqwest's own text leaves out.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    // The cause of this one, "deadline has elapsed", does not say whose.
    if error.is_connect() && error.is_timeout() {
        return CONNECTING_TIMED_OUT.to_owned();
    }
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.last().map_or_else(|| error.to_string(), |cause| cause.to_string())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpSocket;

    use super::*;

    /// Once the queue of those that were not accepted is full, the system answers no more attempts to connect.
    #[tokio::test]
    async fn a_server_that_takes_no_connection_is_given_up() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let limit = Duration::from_millis(200);
        let mut waiting = Vec::new();
        while let Ok(Ok(connected)) = timeout(limit, TcpStream::connect(address)).await {
            waiting.push(connected);
            assert!(waiting.len() < 100, "the queue has no end");
        }
        let error = check_listening(&format!("http://{address}"), limit).await.unwrap_err();
        assert_eq!(error.to_string(), "connecting timed out");
    }

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
