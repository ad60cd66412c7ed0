//! Which session each exchange is of.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use axum::http::HeaderMap;

use super::error::RecordError;
use super::headers::as_text;
use super::named_sessions::NamedSessions;
use super::retention::{OldSession, Removed, Retention, Total, old_sessions};
use super::session::RecordingSession;
use crate::trace::redact::Redactor;
use crate::trace::{is_client_name, session_in_headers};

/// The sessions of a recorder.
#[derive(Debug)]
pub struct Sessions {
    /// The recorder's own, for everything that names no session.
    own: Arc<RecordingSession>,
    /// The sessions that requests have named, by their names; `None` if all exchanges are of the recorder's own.
    named: Option<NamedSessions>,
    /// How many of the older sessions are kept.
    retention: Retention,
    /// What no session is called by: a name is on the disk and in the log.
    redactor: Redactor,
}

impl From<RecordingSession> for Sessions {
    /// All exchanges are of one session, whatever they name.
    fn from(session: RecordingSession) -> Self {
        Self { own: Arc::new(session), named: None, retention: Retention::default(), redactor: Redactor::default() }
    }
}

impl Sessions {
    /// Exchanges are of the session that Claude Code names in its headers, each in a folder beside `own`. A session that was
    /// recorded before goes on. What names none is of `own`.
    pub fn by_client(own: RecordingSession) -> Self {
        Self { named: Some(NamedSessions::default()), ..Self::from(own) }
    }

    /// Removes older sessions in the same folder, while the recorder runs.
    pub fn keeping(self, retention: Retention) -> Self {
        Self { retention, ..self }
    }

    /// What this redactor finds is in no session's name.
    pub(super) fn naming_without_secrets(self, redactor: Redactor) -> Self {
        Self { redactor, ..self }
    }

    /// Removes the sessions that are too many now. What cannot be removed is logged, and stays.
    pub(super) async fn sweep(&self, now: SystemTime) -> Removed {
        let (Some(root), true) = (self.own.root().map(Path::to_owned), self.retention.is_limited()) else {
            return Removed::default();
        };
        let sessions = blocking(move || old_sessions(&root)).await.unwrap_or_default();
        let (mut left, mut removed) = (Total::of(&sessions), Removed::default());
        let retention = self.retention;
        for session in sessions {
            // It may read a trace.
            let looked_at = blocking(move || Ok(retention.removes(&session, left, now).then_some(session))).await;
            if let Some(session) = looked_at.flatten()
                && let Some(one) = self.remove(session).await
            {
                left.without(one);
                removed.add(one);
            }
        }
        removed
    }

    /// Removes a session that none of this recorder's exchanges is of. Requests of other sessions do not wait for it.
    async fn remove(&self, session: OldSession) -> Option<Removed> {
        let place = self.named.as_ref().map(|named| named.place(&session.name));
        let _closed = match &place {
            Some(place) => Some(place.close().await?),
            None => None,
        };
        blocking(move || session.remove()).await
    }

    /// The session of a request with these headers and this path. Whoever holds it keeps it open.
    pub(super) async fn of(&self, headers: &HeaderMap, path: &str) -> Arc<RecordingSession> {
        let Some(named) = &self.named else { return self.own.clone() };
        match self.name_in(headers, path) {
            Some(name) if name != self.own.name() => self.named(named, name).await,
            _ => self.own.clone(),
        }
    }

    /// The session that a request names, if it may be a folder's name and has no secret in it, the request's own included.
    fn name_in(&self, headers: &HeaderMap, path: &str) -> Option<String> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let name = session_in_headers(header).filter(|name| is_client_name(name))?;
        let pairs = as_text(headers);
        let redactor = self.redactor.for_request(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())), path);
        matches!(redactor.text(&name), Cow::Borrowed(_)).then_some(name)
    }

    async fn named(&self, named: &NamedSessions, name: String) -> Arc<RecordingSession> {
        let place = named.place(&name);
        match place.open(|| self.open_beside(name)).await {
            Ok(session) => session,
            // The next request tries again: the other recorder may have ended.
            Err(error) => {
                tracing::warn!("{error}; this exchange is recorded in {}", self.own.name());
                self.own.clone()
            }
        }
    }

    async fn open_beside(&self, name: String) -> Result<RecordingSession, RecordError> {
        let own = self.own.clone();
        let opening = tokio::task::spawn_blocking(move || own.open_beside(&name));
        opening.await.map_err(|error| RecordError::Thread(error.into()))?
    }
}

/// Removes or lists files beside the async code; `None`, and a line in the log, if that fails.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Option<T> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::from).and_then(|done| done);
    done.inspect_err(|error| tracing::warn!("old sessions are not removed: {error}")).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::record::named_sessions::KEPT_OPEN;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn named(session: &str) -> HeaderMap {
        headers(&[("x-claude-code-session-id", session)])
    }

    async fn by_client(root: &Path) -> Sessions {
        Sessions::by_client(RecordingSession::open(root, "own").unwrap())
    }

    #[tokio::test]
    async fn a_request_is_of_the_session_that_it_names() {
        let root = tempfile::tempdir().unwrap();
        let sessions = by_client(root.path()).await;
        let agent = headers(&[("x-claude-code-session-id", "a"), ("x-claude-code-agent-id", "7")]);
        for (headers, expected) in [
            (named("a"), "a"),
            (agent, "a-agent-7"),
            (named("b"), "b"),
            (named("../c"), "own"),
            (named("own"), "own"),
            (named(&"x".repeat(200)), "own"),
            (HeaderMap::new(), "own"),
        ] {
            assert_eq!(sessions.of(&headers, "/").await.name(), expected);
        }
        // Nor does a secret become a folder's name, be it the request's own.
        let key = concat!("sk-ant-", "api03-Zk3vQ9xTbM1nR7wLpY5cHd2e");
        let own_key = headers(&[("x-claude-code-session-id", "a-9f3kQz7Lw"), ("x-api-key", "9f3kQz7Lw")]);
        for (headers, path) in [(named(key), "/"), (own_key, "/"), (named("a-q7LwX9f3k"), "/v1/messages?api_key=q7LwX9f3k")] {
            assert_eq!(sessions.of(&headers, path).await.name(), "own", "{headers:?}");
        }
        let one = Sessions::from(RecordingSession::open(root.path(), "one").unwrap());
        assert_eq!(one.of(&named("a"), "/").await.name(), "one");
    }

    #[tokio::test]
    async fn sessions_at_work_stay_open_and_the_rest_goes_on_where_it_was() {
        let root = tempfile::tempdir().unwrap();
        let sessions = by_client(root.path()).await;
        let at_work = sessions.of(&named("first"), "/").await;
        at_work.take();
        for number in 0..3 * KEPT_OPEN {
            sessions.of(&named(&format!("s{number}")), "/").await;
        }
        assert!(sessions.named.as_ref().unwrap().len() <= KEPT_OPEN);
        assert_eq!(sessions.of(&named("first"), "/").await.take().0, 2);
        std::fs::write(root.path().join("s0/0004.json"), "").unwrap();
        assert_eq!(sessions.of(&named("s0"), "/").await.take().0, 5);
    }

    #[tokio::test]
    async fn what_another_recorder_writes_to_is_recorded_in_the_own_session() {
        let root = tempfile::tempdir().unwrap();
        let other = RecordingSession::open(root.path(), "a").unwrap();
        let sessions = by_client(root.path()).await;
        assert_eq!(sessions.of(&named("a"), "/").await.name(), "own");
        drop(other);
        assert_eq!(sessions.of(&named("a"), "/").await.name(), "a", "for no longer than that");
    }

    #[tokio::test]
    async fn while_one_session_is_removed_the_others_are_opened() {
        let root = tempfile::tempdir().unwrap();
        let sessions = by_client(root.path()).await;
        sessions.of(&named("a"), "/").await;
        let place = sessions.named.as_ref().unwrap().place("a");
        let removing = place.close().await.unwrap();
        assert_eq!(sessions.of(&named("b"), "/").await.name(), "b");
        let headers = named("a");
        let waits = sessions.of(&headers, "/");
        tokio::pin!(waits);
        assert!(futures::poll!(waits.as_mut()).is_pending());
        drop(removing);
        assert_eq!(waits.await.name(), "a");
    }

    #[tokio::test]
    async fn a_session_at_work_is_not_removed() {
        let root = tempfile::tempdir().unwrap();
        let sessions = by_client(root.path()).await;
        let at_work = sessions.of(&named("a"), "/").await;
        assert!(sessions.named.as_ref().unwrap().place("a").close().await.is_none());
        drop(at_work);
        assert!(sessions.named.as_ref().unwrap().place("a").close().await.is_some());
    }
}
