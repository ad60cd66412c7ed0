//! Filler for one text.
//!
//! A word becomes a word of the same length and case from a committed list, chosen by a hash of the word alone; digits become
//! other digits; white space and punctuation stay. So equal words stay equal, a prefix of a text scrubs to a prefix, and every
//! text keeps its length in characters and bytes. Words of the list become themselves, so scrubbing twice is the same as
//! scrubbing once.

use std::sync::LazyLock;

use sha2::digest::Output;
use sha2::{Digest, Sha256};

use super::homes::verbatim;
use super::shape::{is_name, length_while};
use crate::trace::redact::REDACTED;
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
    REDACTED,
    "\u{feff}",
];

/// How Claude Code names the working directory.
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

/// Replaces every word with filler.
pub(super) fn filler(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let taken = if rest.starts_with(BILLING_HEADER) {
            let length = length_while(rest, |c| c != '\n');
            billing_line(&rest[..length], &mut out);
            length
        } else {
            token(rest, &mut out)
        };
        rest = &rest[taken..];
    }
    out
}

/// Replaces what the text begins with: a word, a number, or a single character. Returns its length.
fn token(text: &str, out: &mut String) -> usize {
    let Some(first) = text.chars().next() else { return 0 };
    if let Some(marker) = MARKERS.iter().find(|marker| text.starts_with(**marker)) {
        out.push_str(marker);
        marker.len()
    } else if first.is_ascii_alphabetic() {
        let length = length_while(text, |c| c.is_ascii_alphabetic());
        word(&text[..length], out);
        length
    } else if first.is_ascii_digit() {
        let length = length_while(text, |c| c.is_ascii_digit());
        out.extend("1234567890".chars().cycle().take(length));
        length
    } else {
        out.push(if first.is_alphanumeric() { letter(first) } else { first });
        first.len_utf8()
    }
}

/// The line of the billing header. Its version and its changing hash are what servers have trouble with, so they stay; what
/// else stands in the line does not.
fn billing_line(line: &str, out: &mut String) {
    out.push_str(BILLING_HEADER);
    for (number, part) in line[BILLING_HEADER.len()..].split(';').enumerate() {
        if number > 0 {
            out.push(';');
        }
        let is_known =
            part.trim().split_once('=').is_some_and(|(name, value)| name.starts_with("cc") && is_name(name) && is_name(value));
        if is_known {
            out.push_str(part);
            continue;
        }
        let mut rest = part;
        while !rest.is_empty() {
            rest = &rest[token(rest, out)..];
        }
    }
}

/// Filler, except for the line that names the working directory: models build the paths in their calls from it.
pub(super) fn filler_beside_folder(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(FOLDER) {
        let end = start + length_while(&rest[start..], |c| c != '\n');
        out.push_str(&filler(&rest[..start]));
        out.push_str(&verbatim(&rest[start..end]));
        rest = &rest[end..];
    }
    out + &filler(rest)
}

/// What the client inserts into the user's messages, by tag: reminders, and the output of commands.
const INSERTED: [&str; 5] = ["system-reminder", "bash-stdout", "bash-stderr", "local-command-stdout", "local-command-stderr"];

/// Where the tags of what was inserted open, in order, each with its name.
fn openings(text: &str) -> Vec<(usize, &'static str)> {
    let of_tag = |tag: &'static str| {
        let opening = format!("<{tag}>");
        text.match_indices(&opening).map(|(at, _)| (at, tag)).collect::<Vec<_>>()
    };
    let mut openings: Vec<_> = INSERTED.into_iter().flat_map(of_tag).collect();
    openings.sort_unstable();
    openings
}

/// Keeps what the user wrote as [`verbatim`] does. What the client inserted becomes filler.
pub(super) fn user_turn(text: &str) -> String {
    let mut out = String::new();
    let mut done = 0;
    for (start, tag) in openings(text) {
        if start < done {
            continue;
        }
        let close = format!("</{tag}>");
        let end = text[start..].find(&close).map_or(text.len(), |end| start + end + close.len());
        out.push_str(&verbatim(&text[done..start]));
        out.push_str(&filler_beside_folder(&text[start..end]));
        done = end;
    }
    out + &verbatim(&text[done..])
}

/// Replaces an opaque value with a hash of it: the id of a person, a machine or a request, or a signature. `[redacted]` stays: it
/// tells nothing, and a hash in its place would look like a secret.
pub(super) fn hashed(text: &str) -> String {
    if text.is_empty() || text == REDACTED || is_hashed(text) {
        return text.to_owned();
    }
    let hash = format!("{:x}", digest(text));
    format!("{HASHED}{}", &hash[..16])
}

/// How the hashes begin.
const HASHED: &str = "scrubbed-";

/// Whether a text is a hash that [`hashed`] has made.
pub(super) fn is_hashed(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    text.strip_prefix(HASHED).is_some_and(|hash| hash.len() == 16 && hash.bytes().all(digit))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_that_repeats_itself_is_scrubbed_like_any_text() {
        let text = BILLING_HEADER.repeat(40_000);
        let scrubbed = filler(&text);
        assert_eq!((scrubbed.len(), &scrubbed[..BILLING_HEADER.len()]), (text.len(), BILLING_HEADER));
        assert!(!scrubbed[BILLING_HEADER.len()..].contains("billing"));
        assert_eq!(filler(&scrubbed), scrubbed);
    }

    #[test]
    fn there_is_a_word_of_every_length() {
        for (length, words) in BY_LENGTH.iter().enumerate().skip(1) {
            assert!(!words.is_empty(), "no word of length {length}");
            assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase())));
        }
    }

    #[test]
    fn prose_becomes_filler_of_the_same_shape() {
        insta::assert_snapshot!(filler("You are an interactive CLI tool, v2.13.\n\n - IMPORTANT: don't über-guess URLs!"), @r"
        Tea sky no interactive DRY tool, a1.12.

         - IMPORTANT: pie'a éany-robot ZONe!
        ");
    }

    #[test]
    fn the_line_with_the_folder_stays_where_it_is_asked_for() {
        let text = "Environment\n - Primary working directory: /home/ada/my app\n - Secondary working directory: /x";
        let scrubbed = filler_beside_folder(text);
        assert_eq!(scrubbed.lines().nth(1), Some(" - Primary working directory: /home/user/my app"));
        assert!(!scrubbed.contains("Secondary working"), "{scrubbed}");
        assert_eq!(filler_beside_folder(&scrubbed), scrubbed);
        assert!(!filler(text).contains("my app"));
    }

    #[test]
    fn equal_words_stay_equal_whatever_their_case() {
        let text = filler("Secretive secretive SECRETIVE");
        let words: Vec<String> = text.split(' ').map(str::to_lowercase).collect();
        assert!(words[0] == words[1] && words[1] == words[2] && words[0] != "secretive", "{text}");
    }

    #[test]
    fn markers_stay() {
        assert!(filler("<system-reminder>\nQwertz</system-reminder>").starts_with("<system-reminder>\n"));
    }

    #[test]
    fn of_the_billing_header_the_known_part_stays_and_nothing_beside_it() {
        let billing = "x-anthropic-billing-header: cc_version=2.1.331.5; cc_entrypoint=sdk-cli; cch=1a2b;";
        assert_eq!(filler(billing), billing);
        for text in [
            format!("{billing}\nSecretive"),
            format!("Secretive\n{billing}"),
            format!("{billing} Secretive words"),
            format!("{billing} to=Secretive; cc_note=Secretive words;"),
        ] {
            let scrubbed = filler(&text);
            assert!(scrubbed.contains(billing) && !scrubbed.contains("Secretive"), "{scrubbed}");
            assert_eq!(filler(&scrubbed), scrubbed);
        }
    }

    #[test]
    fn only_what_is_a_hash_is_taken_for_one() {
        for text in ["scrubbed-secretive", "scrubbed-0123456789abcdeg", "x"] {
            assert!(is_hashed(&hashed(text)) && hashed(text) != text, "{text}");
            assert_eq!(hashed(&hashed(text)), hashed(text));
        }
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

    proptest! {
        #[test]
        fn scrubbing_twice_is_scrubbing_once(text in any::<String>(), path in "(/home/|/Users/|/root|-home-|x@|Primary working directory: |x-anthropic-billing-header:|[a-z.@/;=\n-]){0,12}") {
            for text in [text, path] {
                prop_assert_eq!(filler(&filler(&text)), filler(&text));
                prop_assert_eq!(filler_beside_folder(&filler_beside_folder(&text)), filler_beside_folder(&text));
                prop_assert_eq!(verbatim(&verbatim(&text)), verbatim(&text));
                prop_assert_eq!(user_turn(&user_turn(&text)), user_turn(&text));
                prop_assert_eq!(hashed(&hashed(&text)), hashed(&text));
            }
        }

        #[test]
        fn lengths_stay_and_prefixes_stay_prefixes(head in "[a-zA-Zé日 .,0-9]{0,30}", tail in "[a-zA-Zé日 .,0-9]{0,30}") {
            let whole = format!("{head} {tail}");
            let scrubbed = filler(&whole);
            prop_assert!(scrubbed.starts_with(&filler(&head)));
            prop_assert_eq!(scrubbed.len(), whole.len());
            prop_assert_eq!(scrubbed.chars().count(), whole.chars().count());
        }
    }
}
