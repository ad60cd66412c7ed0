//! Names of sessions, which become folders.

/// Whether a session may have this name: ASCII letters, digits, `-`, `_` and `.`, no dot first. So its folder is always inside
/// of the one that it is made in, and no path is read out of a trace.
///
/// ```
/// use anyclaude_trace::is_session_name;
///
/// assert!(is_session_name("20261128-040531"));
/// assert!(!is_session_name("../elsewhere"));
/// ```
pub fn is_session_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_one_folder() {
        for name in ["s", "20261128-040531", "a.b_c-2"] {
            assert!(is_session_name(name), "{name}");
        }
        for name in ["", ".", "..", ".hidden", "a/b", "/a", "../../a", "a\\b", "a b", "a\n", "a\u{1b}", "é"] {
            assert!(!is_session_name(name), "{name:?}");
        }
    }
}
