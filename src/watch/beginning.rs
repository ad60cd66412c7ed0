//! What a prompt begins with that an earlier one had, and where that ends.

use std::sync::Arc;

use crate::report::html::recorded::{Beginning, BrokenAt, Sequel};
use crate::trace::{Prompt, PromptItem, Trace, messages_request};

/// How many characters are shown of a part that differs, from a little before the difference.
const SHOWN: usize = 4_000;

/// How many characters before the difference are shown.
const BEFORE: usize = 400;

/// What an exchange asked.
pub(super) struct Asked {
    seq: u32,
    /// No prefix cache is of two models.
    model: String,
    prompt: Prompt,
}

impl Asked {
    /// By this trace; `None` if it has no prompt.
    pub(super) fn by(trace: &Trace) -> Option<Self> {
        let request = messages_request(trace)?;
        let items = vec![Arc::new(PromptItem::of_request(&request))];
        Some(Self { seq: trace.seq, model: request.model, prompt: Prompt { name: String::new(), items } })
    }
}

/// How the prompt of a trace begins, beside that of the earlier one to the same model which has most of it; `None` if it has no
/// prompt, or there is no such earlier one.
pub(super) fn beginning<'a>(trace: &Trace, earlier: impl Iterator<Item = &'a Asked>) -> Option<Beginning> {
    let Asked { model, prompt, .. } = Asked::by(trace)?;
    let shared = earlier.filter(|earlier| earlier.model == model);
    let shared = shared.map(|earlier| (prompt.characters_shared_with(&earlier.prompt), earlier));
    let (shared, earlier) = shared.max_by_key(|(shared, earlier)| (*shared, earlier.seq))?;
    let all: usize = prompt.parts().map(|part| part.characters).sum();
    Some(Beginning { like: earlier.seq, shared: shared as f64 / all.max(1) as f64, sequel: sequel(&prompt, &earlier.prompt) })
}

fn sequel(prompt: &Prompt, earlier: &Prompt) -> Sequel {
    match earlier.first_different(prompt) {
        Some((old, new)) => {
            let (old, shown) = windows(&old.text, &new.text);
            Sequel::Broken(BrokenAt { part: new.label.clone(), old, new: shown })
        }
        None if prompt.parts().count() < earlier.parts().count() => Sequel::Shorter,
        None => Sequel::GoesOn,
    }
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
        trace_of("m", seq, system, messages)
    }

    fn trace_of(model: &str, seq: u32, system: &str, messages: &[&str]) -> Trace {
        let messages: Vec<Value> = messages.iter().map(|text| json!({"role": "user", "content": text})).collect();
        let body = json!({"model": model, "max_tokens": 9, "system": system, "messages": messages});
        let trace = json!({"version": 1, "id": "i", "session": "s", "seq": seq, "recorded_at": "2026-01-02T03:04:05Z",
            "client": "c", "mode": "m", "request": {"method": "POST", "path": "/v1/messages", "headers": {}, "body": body},
            "response": {"status": 200, "headers": {}, "events": [], "body": null},
            "timing": {"ttft_us": null, "e2e_us": null, "itl_us": null}, "outcome": "complete"});
        serde_json::from_value(trace).unwrap()
    }

    /// The same beside traces.
    fn beginning(trace: &Trace, earlier: &[Trace]) -> Option<Beginning> {
        let earlier: Vec<_> = earlier.iter().filter_map(Asked::by).collect();
        super::beginning(trace, earlier.iter())
    }

    #[test]
    fn a_conversation_goes_on_from_the_request_before_it() {
        let earlier = [trace(1, "12345", &["67890"]), trace(2, "other", &["title?"])];
        let found = beginning(&trace(3, "12345", &["67890", "1234567890"]), &earlier);
        assert_eq!(found, Some(Beginning { like: 1, shared: 0.5, sequel: Sequel::GoesOn }));
    }

    #[test]
    fn a_part_of_an_earlier_prompt_does_not_go_on_from_it() {
        let long = trace(1, "12345", &["67890", "more", "and more"]);
        let found = beginning(&trace(2, "12345", &["67890"]), &[long]);
        assert_eq!(found, Some(Beginning { like: 1, shared: 1.0, sequel: Sequel::Shorter }));
        let again = beginning(&trace(2, "12345", &["67890"]), &[trace(1, "12345", &["67890"])]);
        assert_eq!(again, Some(Beginning { like: 1, shared: 1.0, sequel: Sequel::GoesOn }));
    }

    #[test]
    fn no_prompt_goes_on_from_one_to_another_model() {
        let [other, same] = [("other", 2), ("m", 1)].map(|(model, seq)| trace_of(model, seq, "12345", &["67890"]));
        let next = trace(3, "12345", &["67890", "1234567890"]);
        assert_eq!(beginning(&next, std::slice::from_ref(&other)), None);
        assert_eq!(beginning(&next, &[other, same]).unwrap().like, 1);
    }

    #[test]
    fn what_breaks_the_beginning_is_shown_as_it_was_and_as_it_is() {
        let found = beginning(&trace(2, "12345", &["Monday"]), &[trace(1, "12345", &["Sunday"])]).unwrap();
        let broken = BrokenAt { part: "message 1 (user)".into(), old: "Sunday".into(), new: "Monday".into() };
        assert_eq!((found.like, found.sequel), (1, Sequel::Broken(broken)));
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
