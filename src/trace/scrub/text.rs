//! Scrubbing one text.
//!
//! A word becomes a word of the same length and case from a committed list, chosen by a hash of the word alone; digits become
//! other digits; white space and punctuation stay. So equal words stay equal, a prefix of a text scrubs to a prefix, and every
//! text keeps its length in characters and bytes. Words of the list become themselves, so scrubbing twice is the same as
//! scrubbing once.

use std::sync::LazyLock;

use sha2::digest::Output;
use sha2::{Digest, Sha256};

use crate::wire::BILLING_HEADER;

/// Filler words, in any order.
const WORDS: &str = include_str!("words.txt");

/// Longer words are scrubbed in pieces of this length, in letters.
const MAX_WORD: usize = 12;

/// What stays inside prose, because servers and tests look for it.
const MARKERS: [&str; 8] = [
    "<system-reminder>",
    "</system-reminder>",
    "<command-name>",
    "</command-name>",
    "<command-message>",
    "</command-message>",
    "[redacted]",
    "\u{feff}",
];

/// How Claude Code names the working directory. The line stays to its end: models build the paths in their calls from it, so a
/// scrubbed request leads to the same calls as the original.
const FOLDER: &str = "Primary working directory: ";

/// The words of each length, sorted.
static BY_LENGTH: LazyLock<[Vec<&'static str>; MAX_WORD + 1]> = LazyLock::new(|| {
    let mut by_length: [Vec<&'static str>; MAX_WORD + 1] = Default::default();
    for word in WORDS.split_ascii_whitespace().filter(|word| word.len() <= MAX_WORD) {
        by_length[word.len()].push(word);
    }
    for words in &mut by_length {
        words.sort_unstable();
        words.dedup();
    }
    by_length
});

/// Replaces prose with filler.
pub(crate) fn prose(text: &str) -> String {
    // Its version and its changing hash are what servers have trouble with, so all of it stays.
    if text.starts_with(BILLING_HEADER) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = if let Some(marker) = MARKERS.iter().find(|marker| rest.starts_with(**marker)) {
            out.push_str(marker);
            marker.len()
        } else if rest.starts_with(FOLDER) {
            let length = length_while(rest, |c| c != '\n');
            out.push_str(&verbatim(&rest[..length]));
            length
        } else if first.is_ascii_alphabetic() {
            let length = length_while(rest, |c| c.is_ascii_alphabetic());
            word(&rest[..length], &mut out);
            length
        } else if first.is_ascii_digit() {
            let length = length_while(rest, |c| c.is_ascii_digit());
            out.extend("1234567890".chars().cycle().take(length));
            length
        } else {
            out.push(if first.is_alphabetic() { letter(first) } else { first });
            first.len_utf8()
        };
        rest = &rest[taken..];
    }
    out
}

/// Scrubs a user's turn: the user's own text is kept as by [`verbatim`], reminders that the client inserted are prose.
pub(crate) fn user_turn(text: &str) -> String {
    const OPEN: &str = "<system-reminder>";
    const CLOSE: &str = "</system-reminder>";
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(OPEN) {
        let end = rest[start..].find(CLOSE).map_or(rest.len(), |end| start + end + CLOSE.len());
        out.push_str(&verbatim(&rest[..start]));
        out.push_str(&prose(&rest[start..end]));
        rest = &rest[end..];
    }
    out + &verbatim(rest)
}

/// Keeps a text, except home folders and mail addresses, which tell who wrote it.
pub(crate) fn verbatim(text: &str) -> String {
    emails(&homes(text))
}

/// Replaces an opaque value with a hash of it: the id of a person, a machine or a request, or a signature.
pub(crate) fn opaque(text: &str) -> String {
    const PREFIX: &str = "scrubbed-";
    if text.is_empty() || text.starts_with(PREFIX) {
        return text.to_owned();
    }
    let hash = format!("{:x}", digest(text));
    format!("{PREFIX}{}", &hash[..16])
}

/// The length in bytes of the longest start of the text whose characters belong together.
fn length_while(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// Appends the filler for a word.
fn word(word: &str, out: &mut String) {
    for piece in word.as_bytes().chunks(MAX_WORD) {
        let lower = String::from_utf8_lossy(piece).to_ascii_lowercase();
        let words = &BY_LENGTH[piece.len()];
        let filler = match words.binary_search(&lower.as_str()) {
            Ok(index) => words[index],
            Err(_) => words[pick(&lower, words.len())],
        };
        let cased = piece.iter().zip(filler.chars());
        out.extend(cased.map(|(original, c)| if original.is_ascii_uppercase() { c.to_ascii_uppercase() } else { c }));
    }
}

/// The filler for a letter outside ASCII: the same for all letters of its length in UTF-8.
fn letter(c: char) -> char {
    match c.len_utf8() {
        2 => 'é',
        3 => '字',
        _ => '𠀀',
    }
}

/// An index below `among` that depends on the word alone.
fn pick(word: &str, among: usize) -> usize {
    let hash = digest(word);
    let number = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    number as usize % among
}

/// SHA-256 with a prefix of ours. Changing the prefix would change every scrubbed trace.
fn digest(text: &str) -> Output<Sha256> {
    Sha256::new().chain_update("anyclaude scrub 1\0").chain_update(text).finalize()
}

/// What a home folder's path begins with before the user's name, and what replaces both.
const HOMES: [(&str, &str); 5] = [
    ("/home/", "/home/user"),
    ("/Users/", "/home/user"),
    ("-home-", "-home-user"),
    ("-Users-", "-home-user"),
    ("\\Users\\", "\\Users\\user"),
];

/// Replaces home folders.
fn homes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let in_path = out.chars().next_back().is_some_and(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '~'));
        let home = HOMES.iter().find(|(prefix, _)| rest.starts_with(prefix) && (!in_path || prefix.starts_with('\\')));
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
    use proptest::prelude::*;

    #[test]
    fn there_is_a_word_of_every_length() {
        for (length, words) in BY_LENGTH.iter().enumerate().skip(1) {
            assert!(!words.is_empty(), "no word of length {length}");
            assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase())));
        }
    }

    #[test]
    fn prose_becomes_filler_of_the_same_shape() {
        insta::assert_snapshot!(prose("You are an interactive CLI tool, v2.13.\n\n - IMPORTANT: don't über-guess URLs!"), @r"
        Tea sky no interactive DRY tool, a1.12.

         - IMPORTANT: pie'a éany-robot ZONe!
        ");
    }

    #[test]
    fn the_line_with_the_folder_stays() {
        let text = "Environment\n - Primary working directory: /home/ada/my app\n - Secondary working directory: /x";
        let scrubbed = prose(text);
        assert_eq!(scrubbed.lines().nth(1), Some(" - Primary working directory: /home/user/my app"));
        assert!(!scrubbed.contains("Secondary working"), "{scrubbed}");
        assert_eq!(prose(&scrubbed), scrubbed);
    }

    #[test]
    fn equal_words_stay_equal_whatever_their_case() {
        let text = prose("Secretive secretive SECRETIVE");
        let words: Vec<String> = text.split(' ').map(str::to_lowercase).collect();
        assert!(words[0] == words[1] && words[1] == words[2] && words[0] != "secretive", "{text}");
    }

    #[test]
    fn markers_and_the_billing_header_stay() {
        assert!(prose("<system-reminder>\nQwertz</system-reminder>").starts_with("<system-reminder>\n"));
        let billing = "x-anthropic-billing-header: cc_version=2.1; cch=1a2b;";
        assert_eq!(prose(billing), billing);
    }

    #[test]
    fn the_users_text_stays_and_reminders_do_not() {
        let turn = user_turn("Read /root/x.txt<system-reminder>Secretive</system-reminder> please, me@corp.example.org");
        assert!(
            turn.starts_with("Read /home/user/x.txt<system-reminder>")
                && turn.ends_with("</system-reminder> please, user@example.com")
        );
        assert!(!turn.contains("Secretive"));
    }

    #[test]
    fn home_folders_and_mail_addresses_are_replaced() {
        let cases = [
            ("/home/alice/p/a.rs and /Users/bob", "/home/user/p/a.rs and /home/user"),
            ("\"/root\" /root/.claude /rooted /x/root/y", "\"/home/user\" /home/user/.claude /rooted /x/root/y"),
            ("~/.claude/projects/-home-alice-work-x", "~/.claude/projects/-home-alice-work-x"),
            ("projects -home-alice-work-x", "projects -home-user-work-x"),
            ("C:\\Users\\carol\\x", "C:\\Users\\user\\x"),
            ("mail a.b+c@d-e.co.uk.", "mail user@example.com."),
            ("npm i claude@2.1.0 @scope/pkg x@y", "npm i claude@2.1.0 @scope/pkg x@y"),
        ];
        for (text, expected) in cases {
            assert_eq!(verbatim(text), expected);
        }
    }

    proptest! {
        #[test]
        fn scrubbing_twice_is_scrubbing_once(text in any::<String>(), path in "(/home/|/Users/|/root|-home-|x@|[a-z.@/-]){0,12}") {
            for text in [text, path] {
                prop_assert_eq!(prose(&prose(&text)), prose(&text));
                prop_assert_eq!(verbatim(&verbatim(&text)), verbatim(&text));
                prop_assert_eq!(user_turn(&user_turn(&text)), user_turn(&text));
                prop_assert_eq!(opaque(&opaque(&text)), opaque(&text));
            }
        }

        #[test]
        fn lengths_stay_and_prefixes_stay_prefixes(head in "[a-zA-Zé日 .,0-9]{0,30}", tail in "[a-zA-Zé日 .,0-9]{0,30}") {
            let whole = format!("{head} {tail}");
            let scrubbed = prose(&whole);
            prop_assert!(scrubbed.starts_with(&prose(&head)));
            prop_assert_eq!(scrubbed.len(), whole.len());
            prop_assert_eq!(scrubbed.chars().count(), whole.chars().count());
        }
    }
}
