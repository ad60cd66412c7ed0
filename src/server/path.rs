//! Paths as clients put them together: base URLs end with a slash, or with `/v1` where they should not.

use axum::extract::Request;
use axum::http::Uri;
use axum::middleware::Next;
use axum::response::Response;
use percent_encoding::percent_decode_str;

use super::error::ApiError;
use super::observe::refusal;
use crate::wire::{CHAT_COMPLETIONS_PATH, COMPLETIONS_PATH, COUNT_TOKENS_PATH, MESSAGES_PATH, MODELS_PATH, RESPONSES_PATH};

/// The paths that clients of all protocols use.
const API_PATHS: [&str; 6] =
    [MESSAGES_PATH, COUNT_TOKENS_PATH, CHAT_COMPLETIONS_PATH, RESPONSES_PATH, COMPLETIONS_PATH, MODELS_PATH];

/// Makes one slash of several, and takes the last one off: `//v1/messages/` is `/v1/messages`. A path whose escapes are no text is
/// refused.
pub(crate) async fn tidy(mut request: Request, next: Next) -> Response {
    if !is_text(request.uri().path()) {
        let reason = "the path is no text: after each % there must be two hexadecimal digits, of UTF-8";
        return refusal(&request, ApiError::invalid(reason));
    }
    if let Some(uri) = tidied(request.uri()) {
        *request.uri_mut() = uri;
    }
    next.run(request).await
}

/// Whether each escape has its digits, and they are UTF-8.
fn is_text(path: &str) -> bool {
    let has_digits = |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    path.split('%').skip(1).all(has_digits) && percent_decode_str(path).decode_utf8().is_ok()
}

/// The tidy address; `None` if it is tidy already.
fn tidied(uri: &Uri) -> Option<Uri> {
    let names: Vec<&str> = uri.path().split('/').filter(|name| !name.is_empty()).collect();
    let path = format!("/{}", names.join("/"));
    if path == uri.path() {
        return None;
    }
    let path_and_query = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = path_and_query.parse().ok();
    Uri::from_parts(parts).ok()
}

/// The error for a path that does not exist. It says which do, for clients that were given a wrong base URL.
pub(crate) fn unknown(uri: &Uri) -> ApiError {
    let path = uri.path();
    let below = path.strip_prefix("/v1").filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let hint = match below.map(|rest| rest.trim_start_matches('/')) {
        Some(rest) if rest == "v1" || rest.starts_with("v1/") => "; set the client's base URL without /v1".to_owned(),
        Some(_) => format!("; there are {}", API_PATHS.join(", ")),
        None => String::new(),
    };
    ApiError::no_such_path(path, &hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_path_below_v1_is_told_which_there_are() {
        let told = |path: &str| unknown(&path.parse().unwrap()).to_string();
        let paths = API_PATHS.join(", ");
        assert_eq!(told("/v1"), format!("no such path: /v1; there are {paths}"));
        assert_eq!(told("/v1/embeddings"), format!("no such path: /v1/embeddings; there are {paths}"));
        assert_eq!(told("/v1/v1"), "no such path: /v1/v1; set the client's base URL without /v1");
        assert_eq!(told("/v1/v1/messages"), "no such path: /v1/v1/messages; set the client's base URL without /v1");
        assert_eq!(told("/v1beta/x"), "no such path: /v1beta/x");
    }

    #[test]
    fn escapes_have_two_digits_and_are_text() {
        let texts = ["/v1/models/a%2Fb", "/%c3%a9", "/"];
        assert_eq!(texts.map(is_text), [true; 3]);
        assert_eq!(["/%", "/%2", "/%zz", "/a%2-b", "/%ff", "/%+1"].map(is_text), [false; 6]);
    }

    #[test]
    fn slashes_too_many_are_taken_away() {
        let tidy = |path: &str| tidied(&path.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(tidy("/v1/messages"), None);
        assert_eq!(tidy("/"), None);
        assert_eq!(tidy("/v1/messages?beta=true"), None);
        assert_eq!(tidy("//v1///messages/?beta=true").as_deref(), Some("/v1/messages?beta=true"));
        assert_eq!(tidy("/v1/messages/").as_deref(), Some("/v1/messages"));
        assert_eq!(tidy("//").as_deref(), Some("/"));
        assert_eq!(tidy("http://host//v1/messages").as_deref(), Some("http://host/v1/messages"));
    }
}
