//! Patterns of a JSON Schema as Lark has them.

/// Turns a JSON Schema pattern, which may match anywhere in a text, into one for the whole text, and escapes its
/// slashes for Lark.
pub(super) fn anchored(pattern: &str) -> String {
    let any = "(?s:.*)";
    let (before, pattern) = pattern.strip_prefix('^').map_or((any, pattern), |rest| ("", rest));
    let ends = pattern.ends_with('$') && !pattern.ends_with("\\$");
    let (pattern, after) = if ends { (&pattern[..pattern.len() - 1], "") } else { (pattern, any) };
    let mut escaped = String::new();
    let mut backslash = false;
    for c in pattern.chars() {
        if c == '/' && !backslash {
            escaped.push('\\');
        }
        backslash = c == '\\' && !backslash;
        escaped.push(c);
    }
    format!("{before}(?:{escaped}){after}")
}

/// Whether the pattern has a `|` outside all brackets. An anchor then belongs to one alternative only, which
/// [`anchored`] cannot handle.
pub(super) fn has_choice(pattern: &str) -> bool {
    let mut depth = 0;
    let mut backslash = false;
    for c in pattern.chars() {
        match c {
            _ if backslash => {}
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '|' if depth == 0 => return true,
            _ => {}
        }
        backslash = c == '\\' && !backslash;
    }
    false
}
