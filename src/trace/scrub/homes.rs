//! Home folders and mail addresses, which tell who wrote a text.

use super::shape::length_while;

/// Keeps a text, except home folders and mail addresses, which tell who wrote it.
pub(super) fn verbatim(text: &str) -> String {
    emails(&homes(text))
}

/// What a home folder's path begins with before the user's name, and what replaces both.
const HOMES: [(&str, &str); 8] = [
    ("/home/", "/home/user"),
    ("/Users/", "/home/user"),
    ("%2Fhome%2F", "%2Fhome%2Fuser"),
    ("%2FUsers%2F", "%2Fhome%2Fuser"),
    ("-home-", "-home-user"),
    ("-Users-", "-home-user"),
    // Escaped, as in JSON and in code.
    ("\\\\Users\\\\", "\\\\Users\\\\user"),
    ("\\Users\\", "\\Users\\user"),
];

/// Replaces home folders.
fn homes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let in_path = out.chars().next_back().is_some_and(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '~'));
        // Also inside a path: `/mnt/c/Users/alice`, `file:///home/alice`. With dashes it may be words: work-from-home-days.
        let in_word = out.chars().next_back().is_some_and(char::is_alphanumeric);
        let home = HOMES.iter().find(|(prefix, _)| rest.starts_with(prefix) && !(in_word && prefix.starts_with('-')));
        if let Some((prefix, replacement)) = home {
            let name = &rest[prefix.len()..];
            let dashed = prefix.starts_with('-');
            let length = length_while(name, |c| c.is_alphanumeric() || matches!(c, '_' | '.') || (c == '-' && !dashed));
            if length > 0 {
                out.push_str(replacement);
                rest = &name[length..];
                continue;
            }
        }
        if let Some(after) = rest.strip_prefix("/root")
            && !in_path
            && !after.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
        {
            out.push_str("/home/user");
            rest = after;
            continue;
        }
        out.push(first);
        rest = &rest[first.len_utf8()..];
    }
    out
}

/// Replaces mail addresses.
fn emails(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let local = before.len() - before.bytes().rev().take_while(|b| b.is_ascii_alphanumeric() || b"._%+-".contains(b)).count();
        let domain = length_while(after, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
        let domain = after[..domain].trim_end_matches(['.', '-']);
        let top = domain.rsplit_once('.').map_or("", |(_, top)| top);
        if local < at && top.len() >= 2 && top.bytes().all(|b| b.is_ascii_alphabetic()) {
            out.push_str(&before[..local]);
            out.push_str("user@example.com");
            rest = &after[domain.len()..];
        } else {
            out.push_str(&rest[..=at]);
            rest = after;
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_folders_and_mail_addresses_are_replaced() {
        let cases = [
            ("/home/alice/p/a.rs and /Users/bob", "/home/user/p/a.rs and /home/user"),
            ("\"/root\" /root/.claude /rooted /x/root/y", "\"/home/user\" /home/user/.claude /rooted /x/root/y"),
            ("~/.claude/projects/-home-alice-work-x", "~/.claude/projects/-home-user-work-x"),
            ("file:///home/alice/x /var/home/alice/z", "file:///home/user/x /var/home/user/z"),
            ("/mnt/c/Users/alice/y ?p=%2Fhome%2Falice%2Fx", "/mnt/c/home/user/y ?p=%2Fhome%2Fuser%2Fx"),
            ("C:\\\\Users\\\\carol\\\\x", "C:\\\\Users\\\\user\\\\x"),
            ("projects -home-alice-work-x", "projects -home-user-work-x"),
            ("C:\\Users\\carol\\x", "C:\\Users\\user\\x"),
            ("mail a.b+c@d-e.co.uk.", "mail user@example.com."),
            ("npm i claude@2.1.0 @scope/pkg x@y", "npm i claude@2.1.0 @scope/pkg x@y"),
        ];
        for (text, expected) in cases {
            assert_eq!(verbatim(text), expected);
        }
    }
}
