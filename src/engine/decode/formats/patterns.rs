//! Patterns of a JSON Schema as Lark has them.

/// Turns a JSON Schema pattern, which may match anywhere in a text, into one for the whole text, and escapes its
/// slashes for Lark.
pub(super) fn anchored(pattern: &str) -> String {
    // An anchor belongs to one alternative only.
    let alternatives: Vec<String> = alternatives(pattern).into_iter().map(anchored_one).collect();
    if let [one] = &alternatives[..] { one.clone() } else { format!("(?:{})", alternatives.join("|")) }
}

fn anchored_one(pattern: &str) -> String {
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

/// The parts of the pattern between the `|` outside all brackets.
fn alternatives(pattern: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    let (mut backslash, mut class) = (false, None);
    for (at, c) in pattern.char_indices() {
        match (c, class) {
            _ if backslash => {}
            // A bracket that comes first in a class is one of its characters.
            (']', Some(first)) if at > first => class = None,
            (_, Some(first)) if at == first && c == '^' => class = Some(first + 1),
            (_, Some(_)) => {}
            ('[', None) => class = Some(at + 1),
            ('(', None) => depth += 1,
            (')', None) => depth -= 1,
            ('|', None) if depth == 0 => {
                parts.push(&pattern[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        backslash = c == '\\' && !backslash;
    }
    parts.push(&pattern[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_stand_outside_all_brackets() {
        let cases: [(&str, &[&str]); 6] = [
            ("^a(b|c)$", &["^a(b|c)$"]),
            ("^a$|b", &["^a$", "b"]),
            ("[|)]|\\||(x|y)", &["[|)]", "\\|", "(x|y)"]),
            ("[]|]|[^]|]", &["[]|]", "[^]|]"]),
            ("[\\]|]|", &["[\\]|]", ""]),
            ("", &[""]),
        ];
        for (pattern, expected) in cases {
            assert_eq!(alternatives(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn every_alternative_has_its_own_anchors() {
        assert_eq!(anchored("^a/b$"), "(?:a\\/b)");
        assert_eq!(anchored("^a|b$"), "(?:(?:a)(?s:.*)|(?s:.*)(?:b))");
    }
}
