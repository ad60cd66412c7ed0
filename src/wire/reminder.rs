//! What the system says between turns, for models whose chat templates know a system message at the beginning only.

const OPENED: &str = "<system-reminder>";
const CLOSED: &str = "</system-reminder>";

/// The text in the marks that Claude Code itself puts around what it tells a model in a user's message. Without them it reads as if
/// the user had written it.
pub(crate) fn reminder(text: &str) -> String {
    let mut parts = text.split(CLOSED).map(str::trim);
    if parts.all(|part| part.is_empty() || part.starts_with(OPENED)) {
        return text.to_owned();
    }
    format!("{OPENED}\n{}\n{CLOSED}", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_marked_once() {
        let marked = reminder("Today is Monday.\n");
        assert_eq!(marked, "<system-reminder>\nToday is Monday.\n</system-reminder>");
        assert_eq!(reminder(&marked), marked);
        assert_eq!(reminder(&format!("{marked}\n\n{marked}")), format!("{marked}\n\n{marked}"));
        assert_eq!(reminder(&format!("{marked}\n\nRain.")), format!("{OPENED}\n{marked}\n\nRain.\n{CLOSED}"));
        assert_eq!(reminder(""), "");
    }
}
