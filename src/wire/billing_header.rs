//! The line that Claude Code puts before its system prompt for accounting. Its value changes with every request, so in a prompt
//! it would keep every request from finding the cached prefix of another.

use std::borrow::Cow;

/// How the line starts.
pub const BILLING_HEADER: &str = "x-anthropic-billing-header:";

/// The text without the billing header, wherever that stands and however it is written: gateways indent it, change its case and
/// join it with other text. A header alone on its line takes the line with it. `None` where nothing else was there.
pub fn without_billing_header(text: &str) -> Option<Cow<'_, str>> {
    let rest = without(text);
    (rest.len() == text.len() || !rest.trim().is_empty()).then_some(rest)
}

fn without(text: &str) -> Cow<'_, str> {
    let (mut kept, mut rest) = (String::new(), text);
    while let Some(at) = find(rest) {
        let (before, header) = rest.split_at(at);
        let unindented = before.trim_end_matches(BLANKS);
        let begins_line = unindented.ends_with(BREAKS) || unindented.is_empty() && (kept.is_empty() || kept.ends_with(BREAKS));
        let after = header[BILLING_HEADER.len()..].trim_start_matches(BLANKS);
        let behind = behind_values(after);
        rest = match (begins_line, behind.len() == after.len()) {
            (true, false) => {
                kept.push_str(unindented);
                without_break(behind.trim_start_matches(BLANKS))
            }
            // A form that is not known.
            (true, true) => {
                kept.push_str(unindented);
                without_break(after.trim_start_matches(|c| !BREAKS.contains(&c)))
            }
            (false, false) => {
                kept.push_str(unindented);
                behind
            }
            // Somebody speaks of the header.
            (false, true) => {
                kept.push_str(before);
                kept.push_str(&header[..BILLING_HEADER.len()]);
                &header[BILLING_HEADER.len()..]
            }
        };
    }
    match rest.len() == text.len() {
        true => Cow::Borrowed(text),
        false => Cow::Owned(kept + rest),
    }
}

const BLANKS: [char; 2] = [' ', '\t'];
const BREAKS: [char; 2] = ['\n', '\r'];

/// Where the header's name begins, in any case.
fn find(text: &str) -> Option<usize> {
    let begins = |at: &usize| {
        let name = text.as_bytes().get(*at..at + BILLING_HEADER.len());
        name.is_some_and(|name| name.eq_ignore_ascii_case(BILLING_HEADER.as_bytes()))
    };
    // The name is long and its last characters are rare, so few places are compared.
    text.match_indices(':').filter_map(|(colon, _)| (colon + 1).checked_sub(BILLING_HEADER.len())).find(begins)
}

/// What follows the values of a header: `cc_version=2.1; cch=ab12;`.
fn behind_values(mut text: &str) -> &str {
    loop {
        let (name, rest) = split(text.trim_start_matches(BLANKS), |c| c.is_ascii_alphanumeric() || "_-".contains(c));
        let Some(value) = rest.strip_prefix('=').filter(|_| !name.is_empty()) else { return text };
        let (_, rest) = split(value, |c| c != ';' && !c.is_whitespace());
        text = rest.strip_prefix(';').unwrap_or(rest);
    }
}

/// The characters that are `inside`, and the rest.
fn split(text: &str, inside: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !inside(c)).unwrap_or(text.len()))
}

/// The text without the line break that it begins with.
fn without_break(text: &str) -> &str {
    text.strip_prefix("\r\n").or_else(|| text.strip_prefix(BREAKS)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "x-anthropic-billing-header: cc_version=2.1.63.a43; cc_entrypoint=cli; cch=ab12;";

    #[test]
    fn the_header_goes_wherever_it_stands() {
        for (text, rest) in [
            ("H", ""),
            ("H\nA\nB", "A\nB"),
            ("A\nH\nB", "A\nB"),
            ("A\nH", "A\n"),
            ("H A", "A"),
            ("A H", "A"),
            ("A H B", "A B"),
            ("A H\nB", "A\nB"),
            ("  H\nA", "A"),
            ("\tH  \nA", "A"),
            ("H\r\nA", "A"),
            ("A\r\nH\r\nB", "A\r\nB"),
            ("A\rH\rB", "A\rB"),
            ("H\nH\nA", "A"),
            ("A H H B", "A B"),
            ("A: b", "A: b"),
            ("x-anthropic-billing-header: off\nA", "A"),
            ("x-anthropic-billing-header: cch=1\nA", "A"),
            ("Never send x-anthropic-billing-header: it is ours.", "Never send x-anthropic-billing-header: it is ours."),
            ("Say x-anthropic-billing-header: no, then H.", "Say x-anthropic-billing-header: no, then."),
        ] {
            for header in [HEADER.to_owned(), HEADER.to_uppercase()] {
                assert_eq!(without(&text.replace('H', &header)), rest, "{text:?}");
            }
        }
    }

    #[test]
    fn a_text_of_many_headers_is_read_once() {
        assert_eq!(without_billing_header(&format!("{HEADER} ").repeat(20_000)), None);
        let colons = ":".repeat(200_000);
        assert_eq!(without_billing_header(&colons).as_deref(), Some(&*colons));
        assert_eq!(without_billing_header("").as_deref(), Some(""));
    }
}
