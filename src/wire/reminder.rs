//! What the system says between turns, for models whose chat templates know a system message at the beginning only.

/// The text in the marks that Claude Code itself puts around what it tells a model in a user's message. Without them it reads as if
/// the user had written it.
pub(crate) fn reminder(text: &str) -> String {
    if text.trim_start().starts_with("<system-reminder>") {
        return text.to_owned();
    }
    format!("<system-reminder>\n{}\n</system-reminder>", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_marked_once() {
        let marked = reminder("Today is Monday.\n");
        assert_eq!(marked, "<system-reminder>\nToday is Monday.\n</system-reminder>");
        assert_eq!(reminder(&marked), marked);
    }
}
