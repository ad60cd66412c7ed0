//! What a prompt begins with that an earlier one had, and where that ends.

use std::sync::Arc;

use crate::report::html::recorded::{Beginning, BrokenAt};
use crate::trace::{Prompt, PromptItem, Trace, messages_request};

/// How many characters are shown of a part that differs, from a little before the difference.
const SHOWN: usize = 4_000;

/// How many characters before the difference are shown.
const BEFORE: usize = 400;

/// How the prompt of a trace begins, beside that of the earlier one which has most of it; `None` if it has no prompt, or none of
/// the earlier ones has.
pub(super) fn beginning(trace: &Trace, earlier: &[Trace]) -> Option<Beginning> {
    let prompt = prompt_of(trace)?;
    let prompts = earlier.iter().filter_map(|trace| Some((trace.seq, prompt_of(trace)?)));
    let shared = prompts.map(|(seq, earlier)| (prompt.characters_shared_with(&earlier), seq, earlier));
    let (shared, like, earlier) = shared.max_by_key(|(shared, seq, _)| (*shared, *seq))?;
    let all: usize = prompt.parts().map(|part| part.characters).sum();
    let broken = earlier.first_different(&prompt).map(|(old, new)| {
        let (old, shown) = windows(&old.text, &new.text);
        BrokenAt { part: new.label.clone(), old, new: shown }
    });
    Some(Beginning { like, shared: shared as f64 / all.max(1) as f64, broken })
}

fn prompt_of(trace: &Trace) -> Option<Prompt> {
    let items = vec![Arc::new(PromptItem::of_request(&messages_request(trace)?))];
    Some(Prompt { name: String::new(), items })
}

/// Both texts around their first difference.
fn windows(old: &str, new: &str) -> (String, String) {
    let alike = old.chars().zip(new.chars()).take_while(|(a, b)| a == b).count();
    let window = |text: &str| {
        let mut rest = text.chars().skip(alike.saturating_sub(BEFORE));
        let mut shown: String = rest.by_ref().take(SHOWN).collect();
        // Half a line would look like another line.
        if rest.next().is_some() {
            shown.truncate(shown.rfind('\n').map_or(shown.len(), |at| at + 1));
        }
        shown
    };
    (window(old), window(new))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn trace(seq: u32, system: &str, messages: &[&str]) -> Trace {
        let messages: Vec<Value> = messages.iter().map(|text| json!({"role": "user", "content": text})).collect();
        let body = json!({"model": "m", "max_tokens": 9, "system": system, "messages": messages});
        let trace = json!({"version": 1, "id": "i", "session": "s", "seq": seq, "recorded_at": "2026-01-02T03:04:05Z",
            "client": "c", "mode": "m", "request": {"method": "POST", "path": "/v1/messages", "headers": {}, "body": body},
            "response": {"status": 200, "headers": {}, "events": [], "body": null},
            "timing": {"ttft_us": null, "e2e_us": null, "itl_us": null}, "outcome": "complete"});
        serde_json::from_value(trace).unwrap()
    }

    #[test]
    fn a_conversation_goes_on_from_the_request_before_it() {
        let earlier = [trace(1, "12345", &["67890"]), trace(2, "other", &["title?"])];
        let found = beginning(&trace(3, "12345", &["67890", "1234567890"]), &earlier);
        assert_eq!(found, Some(Beginning { like: 1, shared: 0.5, broken: None }));
    }

    #[test]
    fn what_breaks_the_beginning_is_shown_as_it_was_and_as_it_is() {
        let found = beginning(&trace(2, "12345", &["Monday"]), &[trace(1, "12345", &["Sunday"])]).unwrap();
        let broken = BrokenAt { part: "message 1 (user)".into(), old: "Sunday".into(), new: "Monday".into() };
        assert_eq!((found.like, found.broken), (1, Some(broken)));
        assert_eq!(beginning(&trace(1, "12345", &["Sunday"]), &[]), None);
    }

    #[test]
    fn long_texts_are_shown_around_their_difference() {
        let long = "é".repeat(10_000);
        let (old, new) = windows(&format!("{long}a{long}"), &format!("{long}b{long}"));
        assert_eq!((old.chars().count(), new.chars().nth(BEFORE)), (SHOWN, Some('b')));
        let lines = "line\n".repeat(10_000);
        assert!(windows(&format!("a{lines}"), &format!("bc{lines}")).0.ends_with("line\n"));
    }
}
