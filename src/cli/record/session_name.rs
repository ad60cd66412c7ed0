//! Sessions named after the time at which they begin.

use std::path::Path;

use time::OffsetDateTime;
use time::macros::format_description;

use crate::record::{RecordError, RecordingSession};

/// Opens a session that is named after the current time. Recorders started in the same second get a number behind it, those too
/// that began when another one had ended already.
pub(crate) fn open_by_time(out: &Path) -> Result<RecordingSession, RecordError> {
    open_numbered(out, &now())
}

fn open_numbered(out: &Path, name: &str) -> Result<RecordingSession, RecordError> {
    let mut session = RecordingSession::open(out, name);
    let mut number = 1;
    while is_anothers(&session) {
        number += 1;
        session = RecordingSession::open(out, &format!("{name}-{number}"));
    }
    session
}

/// Whether another recorder has the session, or had it.
fn is_anothers(session: &Result<RecordingSession, RecordError>) -> bool {
    match session {
        Ok(session) => session.made_folders().is_empty(),
        Err(error) => matches!(error, RecordError::InUse { .. }),
    }
}

/// The current time (UTC) as a name that sorts by time: `20260131-235959`.
fn now() -> String {
    let format = format_description!("[year][month][day]-[hour][minute][second]");
    // Fails only for years of five digits.
    OffsetDateTime::now_utc().format(format).unwrap_or_else(|_| "session".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::is_time_name;

    #[test]
    fn recorders_of_the_same_second_get_sessions_of_their_own() {
        let out = tempfile::tempdir().unwrap();
        let sessions = [(); 3].map(|()| open_numbered(out.path(), "now").unwrap());
        assert_eq!(sessions.each_ref().map(RecordingSession::name), ["now", "now-2", "now-3"]);
        drop(sessions);
        assert_eq!(open_numbered(out.path(), "now").unwrap().name(), "now-4");
    }

    #[test]
    fn the_name_is_a_time() {
        assert!(is_time_name(&now()));
    }
}
