//! The body of a request to the recorder: whole, and within bounds of size and time.

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use crate::server::LONGEST_ARRIVAL;

/// The most bytes of a request's body. It is held in memory; servers take far less.
pub(super) const MAX_REQUEST: usize = 256 << 20;

/// Why a request's body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyFault {
    #[error("the request is larger than {} MiB", MAX_REQUEST >> 20)]
    TooLarge,
    #[error("the request's body did not arrive in time")]
    TooSlow,
    #[error("the request's body did not come whole")]
    Broken,
}

/// Reads a body of at most `most` bytes to its end.
pub(super) async fn whole(body: Body, most: usize) -> Result<Bytes, BodyFault> {
    // Where the request's head says the length, nothing need come first.
    if body.size_hint().lower() > most as u64 {
        return Err(BodyFault::TooLarge);
    }
    let read = timeout(LONGEST_ARRIVAL, to_bytes(body, most)).await.map_err(|_| BodyFault::TooSlow)?;
    read.map_err(|error| if error.into_inner().is::<LengthLimitError>() { BodyFault::TooLarge } else { BodyFault::Broken })
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
    use tokio::time::{Instant, sleep};

    use super::*;

    fn pieces<const N: usize>(pieces: [Result<&'static str, std::io::ErrorKind>; N]) -> Body {
        Body::from_stream(stream::iter(pieces.map(|piece| piece.map_err(std::io::Error::from))))
    }

    #[tokio::test]
    async fn a_body_is_refused_for_what_is_wrong_with_it() {
        assert_eq!(whole(pieces([Ok("four"), Ok("more")]), 8).await.unwrap(), "fourmore");
        assert_eq!(whole(pieces([Ok("four"), Ok("more"), Ok("!")]), 8).await, Err(BodyFault::TooLarge));
        assert_eq!(whole(Body::from("fourmore!"), 8).await, Err(BodyFault::TooLarge));
        assert_eq!(whole(pieces([Ok("four"), Err(std::io::ErrorKind::UnexpectedEof)]), 8).await, Err(BodyFault::Broken));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_take_two_minutes_to_arrive() {
        let halves = stream::iter(["ha", "lf"]).then(|half| async move {
            sleep(LONGEST_ARRIVAL / 3).await;
            Ok::<_, std::io::Error>(half)
        });
        assert_eq!(whole(Body::from_stream(halves), 8).await.unwrap(), "half");
        let start = Instant::now();
        let unfinished = stream::iter([Ok::<_, std::io::Error>("ha")]).chain(stream::pending());
        assert_eq!(whole(Body::from_stream(unfinished), 8).await, Err(BodyFault::TooSlow));
        assert_eq!(start.elapsed(), LONGEST_ARRIVAL);
    }
}
