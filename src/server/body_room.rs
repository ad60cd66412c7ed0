//! How much memory the bodies of requests take at once.
//!
//! A body takes its bytes as they come, so that a client that only announces many takes none. It gives them back when its answer
//! has been sent: until then it, or what was made of it, waits in the queue or is being answered. Where there is no room, the
//! request is refused, and its client tries again.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::at_work::GuardedBody;
use super::error::ApiError;

/// Room for the bodies of requests: a permit for each byte.
#[derive(Clone, Debug)]
pub(crate) struct BodyRoom(Arc<Semaphore>);

/// What the body of one request has taken of the room. The last of its clones gives it back.
#[derive(Clone, Debug)]
pub(crate) struct BodyPlace {
    room: BodyRoom,
    taken: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl BodyRoom {
    /// Room for this many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// The place of a body of which nothing has come yet.
    pub(crate) fn place(&self) -> BodyPlace {
        BodyPlace { room: self.clone(), taken: Arc::default() }
    }
}

impl BodyPlace {
    /// Takes room for bytes that have come.
    ///
    /// # Errors
    /// There is none left. What the body had taken so far is given back: it will not be read.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), ApiError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // A chunk is far smaller than 4 GiB.
        let more = u32::try_from(bytes).ok().and_then(|bytes| self.room.0.clone().try_acquire_many_owned(bytes).ok());
        match (more, &mut *taken) {
            (Some(more), Some(taken)) => taken.merge(more),
            (Some(more), taken) => *taken = Some(more),
            (None, taken) => {
                *taken = None;
                return Err(ApiError::overloaded("the requests that are here take all memory that they may: try again"));
            }
        }
        Ok(())
    }
}

/// Gives the request a place for its body, until its answer is sent or nobody wants it any more.
pub(crate) async fn hold(State(room): State<BodyRoom>, mut request: Request, next: Next) -> Response {
    let place = room.place();
    request.extensions_mut().insert(place.clone());
    next.run(request).await.map(|body| Body::new(GuardedBody { body, _guard: place }))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::http::header::RETRY_AFTER;
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn bodies_share_the_room_and_give_it_back() {
        let room = BodyRoom::new(10);
        let [first, second] = [room.place(), room.place()];
        first.take(3).unwrap();
        second.take(4).unwrap();
        first.take(3).unwrap();
        let refusal = second.take(1).unwrap_err().into_response();
        assert_eq!((refusal.status(), refusal.headers().contains_key(RETRY_AFTER)), (StatusCode::from_u16(529).unwrap(), true));
        // The refused one has given back its four.
        first.take(4).unwrap();
        let same = first.clone();
        drop(first);
        assert!(room.place().take(1).is_err());
        drop(same);
        room.place().take(10).unwrap();
    }
}
