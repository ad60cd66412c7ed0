//! Texts that may be long.

use maud::{Markup, html};

use crate::report::units::grouped;

/// The most bytes of a text's beginning that are shown, and the fewest of its end.
const SHOWN: usize = 100_000;

/// By how many bytes what is left out grows, so that of a text that grows what is shown mostly grows, too.
const STEP: usize = 50_000;

/// A text that scrolls by itself, with the keyboard too. Of a very long one its beginning and its end are shown.
pub(super) fn long_text(name: &str, text: &str) -> Markup {
    let (beginning, end) = shown(text);
    let left_out = text.len() - beginning.len() - end.len();
    html! {
        (scrolling(name, beginning))
        @if left_out > 0 {
            p { (grouped(left_out as u64)) " bytes are not shown here; all are in the trace." }
            (scrolling(&format!("{name}, its end"), end))
        }
    }
}

fn scrolling(name: &str, text: &str) -> Markup {
    html! { pre tabindex="0" role="region" aria-label=(name) { (text) } }
}

/// The parts of a text that are shown. The second one is empty if the first is all.
fn shown(text: &str) -> (&str, &str) {
    if text.len() <= 2 * SHOWN + STEP {
        return (text, "");
    }
    let beginning = &text[..boundary(text, SHOWN)];
    let left_out = (text.len() - 2 * SHOWN) / STEP * STEP;
    (beginning, &text[boundary(text, SHOWN + left_out)..])
}

/// The last place at or before this one between two characters.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_text_its_beginning_and_its_end_are_shown() {
        let text = "é".repeat(SHOWN + STEP / 2);
        assert_eq!(shown(&text), (&*text, ""));
        let text = format!("begin{}end", "é".repeat(5_000_000));
        let (beginning, end) = shown(&text);
        assert!(beginning.starts_with("begin") && end.ends_with("end"));
        assert!(beginning.len() <= SHOWN && (SHOWN..=SHOWN + STEP + 1).contains(&end.len()), "{}", end.len());
        let html = long_text("text", &text).into_string();
        assert!(html.len() < 3 * SHOWN && html.contains(" bytes are not shown here"), "{}", html.len());
    }

    #[test]
    fn what_is_shown_of_a_growing_text_mostly_grows() {
        let text = "0123456789".repeat(100_000);
        let (_, before) = shown(&text[..900_010]);
        let (_, after) = shown(&text[..940_000]);
        assert!(after.starts_with(before) && after.len() > before.len());
    }
}
