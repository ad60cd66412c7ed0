//! Keeping web pages out.
//!
//! A page that the user has open can send requests to any port of the machine. It cannot forge `Origin`, which says whose page it
//! is, nor `Host`, which says by which name it reached us: a name of its own that it has pointed at this machine (DNS rebinding).
//! Requests without `Origin`, such as those for pictures, carry `Sec-Fetch-Site`: whether the page is from this server.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN, RETRY_AFTER};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::answer::LOOSENED_HEADER;
use super::error::ApiError;
use super::host_name::HostName;
use super::page_origin::PageOrigin;
use crate::wire::ErrorKind;

/// How long a browser may remember what it was allowed.
const REMEMBER: Duration = Duration::from_secs(3600);

/// By which names and from whose web pages a port may be used, beside its own. Every port that listens for clients checks it.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// Names by which clients may call the server, beside `localhost` and addresses.
    pub hosts: Vec<HostName>,
    /// The origins whose web pages may use it.
    pub origins: Vec<PageOrigin>,
    /// How whoever started the server lets in more; refusals end with it.
    pub remedies: Remedies,
}

/// Ends of the refusals' sentences, such as `allow the name in the settings`. Without one, a refusal only says what is wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Remedies {
    /// For a name that the server does not go by.
    pub host: Option<&'static str>,
    /// For web pages.
    pub origin: Option<&'static str>,
}

/// Refuses requests under foreign names and from foreign pages.
pub(crate) async fn refuse(State(allowed): State<Arc<Allowed>>, request: Request, next: Next) -> Result<Response, ApiError> {
    allowed.check(request.uri(), request.headers())?;
    Ok(next.run(request).await)
}

impl Allowed {
    /// Whether a request to this address with these headers may come in.
    ///
    /// # Errors
    /// The refusal: it names the foreign name or origin, and how to allow it.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        self.check_words(uri, headers).map_err(|reason| ApiError::new(ErrorKind::Permission, reason))
    }

    fn check_words(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), String> {
        let named_by_uri = uri.authority().map(|authority| authority.as_str().into());
        let hosts = headers.get_all(HOST).iter().map(|host| String::from_utf8_lossy(host.as_bytes())).chain(named_by_uri);
        for host in hosts {
            if !is_own_name(&host, &self.hosts) {
                let remedy = self.remedies.host.map(|remedy| format!(", or {remedy}")).unwrap_or_default();
                return Err(format!("this server is not known as {host}: call it localhost{remedy}"));
            }
        }
        let own = headers.get(HOST).map(|host| [b"http://", host.as_bytes()].concat());
        for origin in headers.get_all(ORIGIN) {
            let is_own = own.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(origin.as_bytes()));
            if !is_own && !self.origins.iter().any(|allowed| allowed.as_str().as_bytes() == origin.as_bytes()) {
                let shown = String::from_utf8_lossy(origin.as_bytes());
                return Err(format!("web pages of {shown} may not use this server{}", self.origin_remedy()));
            }
        }
        let is_foreign = |site: &HeaderValue| site != "same-origin" && site != "none";
        match headers.get("sec-fetch-site") {
            Some(site) if is_foreign(site) && !headers.contains_key(ORIGIN) => {
                Err(format!("web pages may use this server only with an Origin that is allowed{}", self.origin_remedy()))
            }
            _ => Ok(()),
        }
    }

    fn origin_remedy(&self) -> String {
        self.remedies.origin.map(|remedy| format!(": {remedy}")).unwrap_or_default()
    }

    /// The CORS layer that lets pages of the allowed origins read the answers; `None` if there are no origins.
    pub(crate) fn cors(&self) -> Option<CorsLayer> {
        let origins: Vec<HeaderValue> = self.origins.iter().filter_map(|origin| origin.as_str().parse().ok()).collect();
        (!origins.is_empty()).then(|| {
            CorsLayer::new()
                .allow_origin(AllowOrigin::list(origins))
                .allow_methods([Method::GET, Method::HEAD, Method::POST])
                .allow_headers(AllowHeaders::mirror_request())
                .allow_private_network(true)
                .expose_headers([HeaderName::from_static("request-id"), HeaderName::from_static(LOOSENED_HEADER), RETRY_AFTER])
                .max_age(REMEMBER)
        })
    }
}

/// Whether a page cannot have chosen this name: it is an address, `localhost` or a name below it, or one of
/// `names`.
fn is_own_name(host: &str, names: &[HostName]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&name);
    address.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || names.iter().any(|own| own.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(headers: &[(HeaderName, &str)], allowed: &Allowed) -> Result<(), String> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        allowed.check_words(&Uri::from_static("/v1/messages"), &headers.collect())
    }

    #[test]
    fn only_own_names_are_answered() {
        let allowed = Allowed { hosts: vec!["GPU.lan".parse().unwrap()], ..Allowed::default() };
        for own in ["localhost", "LOCALHOST:8081", "a.localhost", "127.0.0.1:1", "[::1]:8081", "192.168.1.7", "gpu.LAN.:80"] {
            assert_eq!(checked(&[(HOST, own)], &allowed), Ok(()), "{own}");
        }
        for foreign in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8081", "gpu.lan.example", "", "a b"] {
            let refused = format!("this server is not known as {foreign}: call it localhost");
            assert_eq!(checked(&[(HOST, foreign)], &allowed), Err(refused));
        }
        assert_eq!(checked(&[], &allowed), Ok(()));
        // An address in full stands in for `Host`, so it cannot be another one.
        let own: HeaderMap = [(HOST, HeaderValue::from_static("127.0.0.1:8081"))].into_iter().collect();
        let named = |uri: &'static str| allowed.check_words(&Uri::from_static(uri), &own);
        assert_eq!(named("http://gpu.lan/v1/messages"), Ok(()));
        let refused = named("http://evil.example/v1/messages").unwrap_err();
        insta::assert_snapshot!(refused, @"this server is not known as evil.example: call it localhost");
    }

    #[test]
    fn only_allowed_pages_are_answered() {
        let allowed = Allowed { origins: vec!["https://APP.example/".parse().unwrap()], ..Allowed::default() };
        let from = |origin: &str| checked(&[(HOST, "127.0.0.1:8081"), (ORIGIN, origin)], &allowed);
        for own in ["https://app.example", "http://127.0.0.1:8081"] {
            assert_eq!(from(own), Ok(()), "{own}");
        }
        for foreign in ["http://app.example", "https://app.example.evil", "https://evil.example", "null", "http://127.0.0.1:9"] {
            assert_eq!(from(foreign), Err(format!("web pages of {foreign} may not use this server")));
        }
        // A picture or a link: no page says whose it is.
        let fetched =
            |site: &str| checked(&[(HOST, "127.0.0.1:8081"), (HeaderName::from_static("sec-fetch-site"), site)], &allowed);
        assert_eq!(
            ["none", "same-origin", "same-site", "cross-site"].map(|site| fetched(site).is_ok()),
            [true, true, false, false]
        );
    }
}
