//! Reading a request's JSON body.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use super::error::ApiError;
use crate::refuse::{RequestBody, parse};
use crate::wire::ErrorKind;

/// The largest request body that is read, in bytes. Anthropic has the same limit.
pub const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// How long the body may take to arrive.
pub(crate) const LONGEST_ARRIVAL: Duration = Duration::from_secs(120);

/// A body from this size on is parsed where it does not hold up other requests: ten megabytes take a tenth of a second.
const LARGE: usize = 256 * 1024;

/// A request's JSON body. Like Anthropic, it ignores the content type.
pub(crate) struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: RequestBody + Send + 'static> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        refuse_compressed(request.headers())?;
        let bytes = timeout(LONGEST_ARRIVAL, Bytes::from_request(request, state)).await.map_err(|_| ApiError::too_slow())?;
        let bytes = bytes.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                ApiError::new(ErrorKind::RequestTooLarge, format!("the request is larger than {} MiB", BODY_LIMIT >> 20))
            }
            _ => ApiError::invalid(format!("the request's body cannot be read: {}", rejection.body_text())),
        })?;
        let parsed = match bytes.len() < LARGE {
            true => parse(&bytes, T::PATHS),
            false => tokio::task::spawn_blocking(move || parse(&bytes, T::PATHS)).await.map_err(|_| ApiError::failed())?,
        };
        parsed.map(Self).map_err(ApiError::invalid)
    }
}

fn refuse_compressed(headers: &HeaderMap) -> Result<(), ApiError> {
    let named = headers.get_all(CONTENT_ENCODING).iter().flat_map(|value| value.to_str().unwrap_or("unreadable").split(','));
    let compressions: Vec<&str> =
        named.map(str::trim).filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity")).collect();
    match compressions.join(", ").as_str() {
        "" => Ok(()),
        encoding => Err(ApiError::invalid(format!("content-encoding {encoding} is not supported: send the body uncompressed"))),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::HeaderValue;
    use axum::response::IntoResponse;
    use futures::{StreamExt, stream};
    use serde_json::Value;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::refuse::PathStyle;

    impl RequestBody for Value {
        const PATHS: PathStyle = PathStyle::Plain;
    }

    #[test]
    fn a_compressed_body_is_refused_whatever_else_is_named() {
        let refused = |named: &[&'static str]| {
            let named = named.iter().map(|name| (CONTENT_ENCODING, HeaderValue::from_static(name)));
            refuse_compressed(&named.collect()).err().map(|error| error.to_string())
        };
        assert_eq!([&[][..], &["Identity"], &["identity, identity"], &["identity", ""]].map(refused), [None, None, None, None]);
        for named in [&["gzip, gzip"][..], &["gzip", "gzip"], &["identity", "gzip, identity, gzip"]] {
            let reason = "content-encoding gzip, gzip is not supported: send the body uncompressed";
            assert_eq!(refused(named).as_deref(), Some(reason));
        }
    }

    async fn read(body: Body) -> Result<JsonBody<Value>, StatusCode> {
        let read = JsonBody::from_request(Request::new(body), &()).await;
        read.map_err(|error| error.into_response().status())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_take_two_minutes_to_arrive() {
        let halves = stream::iter(["{\"a\":", "1}"]).then(|half| async move {
            sleep(LONGEST_ARRIVAL / 3).await;
            Ok::<_, std::io::Error>(half)
        });
        assert_eq!(read(Body::from_stream(halves)).await.unwrap().0["a"], 1);
        let start = Instant::now();
        let unfinished = stream::iter([Ok::<_, std::io::Error>("{")]).chain(stream::pending());
        assert_eq!(read(Body::from_stream(unfinished)).await.err(), Some(StatusCode::REQUEST_TIMEOUT));
        assert_eq!(start.elapsed(), LONGEST_ARRIVAL);
    }
}
