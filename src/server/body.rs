//! Reading a request's JSON body.

use std::time::Duration;

use axum::body::BodyDataStream;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use futures::StreamExt;
use tokio::time::timeout;

use super::body_room::BodyPlace;
use super::error::ApiError;
use crate::refuse::{RequestBody, parse};
use crate::wire::ErrorKind;

/// The largest request body that is read, in bytes. Anthropic has the same limit.
pub const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// How long the body may take to arrive.
pub(crate) const LONGEST_ARRIVAL: Duration = Duration::from_secs(120);

/// How long the rest of a body that is refused may take to arrive.
const LONGEST_THROWING_AWAY: Duration = Duration::from_secs(10);

/// A body from this size on is parsed where it does not hold up other requests: ten megabytes take a tenth of a second.
const LARGE: usize = 256 * 1024;

/// A request's JSON body. Like Anthropic, it ignores the content type.
pub(crate) struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: RequestBody + Send + 'static> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        refuse_compressed(request.headers())?;
        let bytes = timeout(LONGEST_ARRIVAL, read(request)).await.map_err(|_| ApiError::too_slow())??;
        let parsed = match bytes.len() < LARGE {
            true => parse(&bytes, T::PATHS),
            false => tokio::task::spawn_blocking(move || parse(&bytes, T::PATHS)).await.map_err(|_| ApiError::failed())?,
        };
        parsed.map(Self).map_err(ApiError::invalid)
    }
}

/// The whole body. If there is no room for it, its rest is thrown away.
async fn read(request: Request) -> Result<Vec<u8>, ApiError> {
    let (parts, body) = request.into_parts();
    let place = parts.extensions.get::<BodyPlace>();
    let (mut body, mut bytes) = (body.into_data_stream(), Vec::new());
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| ApiError::invalid(format!("the request's body cannot be read: {error}")))?;
        let room = match bytes.len() + chunk.len() > BODY_LIMIT {
            true => {
                Err(ApiError::new(ErrorKind::RequestTooLarge, format!("the request is larger than {} MiB", BODY_LIMIT >> 20)))
            }
            false => place.map_or(Ok(()), |place| place.take(chunk.len())),
        };
        if let Err(error) = room {
            drop((bytes, chunk));
            timeout(LONGEST_THROWING_AWAY, throw_away(body)).await.ok();
            return Err(error);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads a body to its end: a client whose connection is closed while it still writes may not see the answer.
async fn throw_away(mut body: BodyDataStream) {
    while let Some(Ok(_)) = body.next().await {}
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
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;

    use axum::body::Body;
    use axum::http::{HeaderValue, StatusCode};
    use axum::response::IntoResponse;
    use futures::stream;
    use serde_json::Value;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::refuse::PathStyle;
    use crate::server::body_room::BodyRoom;

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

    #[tokio::test]
    async fn a_body_may_have_32_mib_and_what_is_refused_is_read_to_its_end() {
        let body = |bytes: usize| {
            let half = format!("\"{}", "x".repeat(bytes / 2 - 1));
            let rest = format!("{}\"", "x".repeat(bytes - bytes / 2 - 1));
            let is_read = Arc::new(AtomicBool::new(false));
            let seen = is_read.clone();
            let end = stream::once(async move {
                seen.store(true, Relaxed);
                Ok::<_, std::io::Error>(String::new())
            });
            (Body::from_stream(stream::iter([Ok(half), Ok(rest)]).chain(end)), is_read)
        };
        for (bytes, refused) in [(BODY_LIMIT, None), (BODY_LIMIT + 1, Some(StatusCode::PAYLOAD_TOO_LARGE))] {
            let (body, is_read) = body(bytes);
            assert_eq!(read(body).await.err(), refused, "{bytes}");
            assert!(is_read.load(Relaxed));
        }
        let place = BodyRoom::new(BODY_LIMIT - 1).place();
        let (body, is_read) = body(BODY_LIMIT);
        let mut request = Request::new(body);
        request.extensions_mut().insert(place);
        let refused = JsonBody::<Value>::from_request(request, &()).await.err().map(|error| error.into_response().status());
        assert_eq!((refused, is_read.load(Relaxed)), (StatusCode::from_u16(529).ok(), true));
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
