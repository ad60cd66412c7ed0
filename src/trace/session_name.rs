//! Names of sessions: whose they are, and who made them.

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::is_session_name;

/// The header by which Claude Code says which of its sessions a request is of.
pub(crate) const SESSION_HEADER: &str = "x-claude-code-session-id";

/// The header by which it says which sub-agent of the session asks.
pub(crate) const AGENT_HEADER: &str = "x-claude-code-agent-id";

/// What stands between a session's name and its sub-agent's.
const AGENT: &str = "-agent-";

/// The most characters of a name that a client may choose. Folders' names may be longer.
const LONGEST: usize = 128;

/// The session that a request names in its headers. A sub-agent's requests are a session of their own.
pub(crate) fn session_in_headers<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let session = header(SESSION_HEADER)?;
    Some(header(AGENT_HEADER).map_or_else(|| session.to_owned(), |agent| format!("{session}{AGENT}{agent}")))
}

/// Whether a name that came from a client may become a folder's. None that a command would take for an option.
pub(crate) fn is_client_name(name: &str) -> bool {
    name.len() <= LONGEST && is_session_name(name) && !name.starts_with('-')
}

/// Whether a recorder made this name, not a person: it is a time (`20260131-235959`, with a number behind it where that was
/// taken), or Claude Code's session in 36 characters, perhaps with a sub-agent's id of letters and digits.
pub(crate) fn is_made_name(name: &str) -> bool {
    let (session, agent) = name.split_once(AGENT).map_or((name, None), |(session, agent)| (session, Some(agent)));
    let is_agent = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_session = session.len() == Hyphenated::LENGTH && Uuid::try_parse(session).is_ok();
    is_time_name(name) || (is_session && agent.is_none_or(is_agent))
}

/// Whether a name is a time, perhaps with a number behind it.
pub(crate) fn is_time_name(name: &str) -> bool {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = name.splitn(3, '-');
    let (date, time) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    digits(date, 8) && digits(time, 6) && parts.next().is_none_or(|number| digits(number, number.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "2c6d1f6e-6a51-4d0c-9a0e-0b8f5b6f3a11";

    #[test]
    fn a_client_may_not_choose_every_name() {
        assert!(!is_client_name("-rf") && !is_client_name("--help"));
        assert!(is_client_name(ID) && !is_client_name(&"a".repeat(129)) && !is_client_name(".."));
    }

    #[test]
    fn a_sub_agents_session_is_one_of_its_own() {
        let session = |session: Option<&'static str>, agent: Option<&'static str>| {
            session_in_headers(|name| if name == AGENT_HEADER { agent } else { session })
        };
        assert_eq!(session(Some("a"), None), Some("a".into()));
        assert_eq!(session(Some("a"), Some("b")), Some("a-agent-b".into()));
        assert_eq!(session(None, Some("b")), None);
    }

    #[test]
    fn a_recorders_names_are_told_from_peoples() {
        let agent = format!("{ID}-agent-a1");
        for (name, expected) in [("20260101-000000", true), ("20260101-000000-2", true), (ID, true), (&agent, true)]
            .into_iter()
            .chain(["20260101", "mine", "2026-01-01", "read-file", "mine-agent-a1"].map(|name| (name, false)))
            .chain([&ID.replace('-', ""), &format!("{ID}-agent-before-the-fix")].map(|name| (&name[..], false)))
        {
            assert_eq!(is_made_name(name), expected, "{name}");
        }
    }
}
