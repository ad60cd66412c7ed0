//! The sessions that requests have named, as long as they are open.
//!
//! Each has a place of its own with its own lock, so that opening or removing one keeps nobody waiting who asks for another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

use super::error::RecordError;
use super::session::RecordingSession;

/// How many sessions stay open though none of their exchanges is. Each holds a descriptor.
pub(super) const KEPT_OPEN: usize = 32;

/// Sessions by the names that requests have for them.
#[derive(Debug, Default)]
pub(super) struct NamedSessions(Mutex<HashMap<String, Arc<Place>>>);

/// Where a session is while it is open.
#[derive(Debug, Default)]
pub(super) struct Place(AsyncMutex<Option<Arc<RecordingSession>>>);

impl NamedSessions {
    /// The place of a session. Where there are many, those that nobody uses are given up: their sessions are closed.
    pub(super) fn place(&self, name: &str) -> Arc<Place> {
        let mut places = self.places();
        if places.len() >= KEPT_OPEN && !places.contains_key(name) {
            // Whoever uses a place holds it.
            places.retain(|_, place| Arc::strong_count(place) > 1 || place.is_used());
        }
        places.entry(name.to_owned()).or_default().clone()
    }

    fn places(&self) -> MutexGuard<'_, HashMap<String, Arc<Place>>> {
        // No change of it stops half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places().len()
    }
}

impl Place {
    /// The session, opened if it is not. Whoever holds it keeps it open.
    pub(super) async fn open<F>(&self, open: impl FnOnce() -> F) -> Result<Arc<RecordingSession>, RecordError>
    where
        F: Future<Output = Result<RecordingSession, RecordError>>,
    {
        let mut place = self.0.lock().await;
        if let Some(session) = &*place {
            return Ok(session.clone());
        }
        let session = Arc::new(open().await?);
        *place = Some(session.clone());
        Ok(session)
    }

    /// Closes the session, and keeps it closed for as long as the result lives; `None` if an exchange of it is open.
    pub(super) async fn close(&self) -> Option<AsyncMutexGuard<'_, Option<Arc<RecordingSession>>>> {
        let mut place = self.0.lock().await;
        if place.as_ref().is_some_and(|session| Arc::strong_count(session) > 1) {
            return None;
        }
        *place = None;
        Some(place)
    }

    /// Whether an exchange of its session is open.
    fn is_used(&self) -> bool {
        match self.0.try_lock() {
            Ok(place) => place.as_ref().is_some_and(|session| Arc::strong_count(session) > 1),
            Err(_) => true,
        }
    }
}
