//! The answer's text on its way out: stop sequences, and the whitespace around tool calls.

use super::Piece;
use super::logprob_trail::Placed;
use super::syntax::ending_with_start_of;

/// Passes pieces on. Text is held back while it may be the start of a stop sequence. Whitespace is held back while a tool call
/// may follow: between text and calls it belongs to the format and is dropped.
#[derive(Default)]
pub(super) struct TextFlow {
    stop_sequences: Vec<String>,
    /// Text that may be the start of a stop sequence.
    held: String,
    /// Whitespace at the end of the text so far, not passed on yet.
    space: String,
    /// Where the text so far ends.
    end: usize,
    after_call: bool,
    stopped_by: Option<usize>,
}

impl TextFlow {
    pub(super) fn new(stop_sequences: &[String]) -> Self {
        let stop_sequences = stop_sequences.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { stop_sequences, ..Self::default() }
    }

    /// The stop sequence that ended the answer. Nothing is passed on after it.
    pub(super) fn stop_sequence(&self) -> Option<&str> {
        self.stopped_by.map(|at| self.stop_sequences[at].as_str())
    }

    pub(super) fn push(&mut self, Placed { piece, end }: Placed, out: &mut Vec<Placed>) {
        if self.stopped_by.is_some() {
            return;
        }
        match piece {
            Piece::Text(text) => self.push_text(&text, end, out),
            other => {
                self.give_held(out);
                self.space.clear();
                self.after_call = other == Piece::ToolEnd;
                out.push(Placed { piece: other, end });
            }
        }
    }

    /// The answer is over: passes on what was held back.
    pub(super) fn finish(&mut self, out: &mut Vec<Placed>) {
        self.give_held(out);
        let space = std::mem::take(&mut self.space);
        if !space.is_empty() {
            out.push(Placed { piece: Piece::Text(space), end: self.end });
        }
    }

    /// The answer was cut inside a call: passes on the text held back before it, without the whitespace between text and call.
    pub(super) fn finish_before_call(&mut self, out: &mut Vec<Placed>) {
        self.give_held(out);
        self.space.clear();
    }

    fn push_text(&mut self, text: &str, end: usize, out: &mut Vec<Placed>) {
        let mut text = std::mem::take(&mut self.held) + text;
        self.end = end;
        let found = self.stop_sequences.iter().enumerate().filter_map(|(which, stop)| Some((text.find(stop)?, which)));
        if let Some((at, which)) = found.min() {
            self.stopped_by = Some(which);
            self.end -= text.len() - at;
            text.truncate(at);
        } else {
            let holding = self.stop_sequences.iter().map(|stop| ending_with_start_of(&text, stop)).max().unwrap_or(0);
            self.held = text.split_off(text.len() - holding);
        }
        self.give(&text, self.end - self.held.len(), out);
    }

    /// Passes on the text that is not the start of a stop sequence after all.
    fn give_held(&mut self, out: &mut Vec<Placed>) {
        let held = std::mem::take(&mut self.held);
        self.give(&held, self.end, out);
    }

    /// Passes on text that ends at this position, but for the whitespace at its end.
    fn give(&mut self, text: &str, end: usize, out: &mut Vec<Placed>) {
        let text = if self.after_call { text.trim_start() } else { text };
        if text.is_empty() {
            return;
        }
        self.after_call = false;
        let mut text = std::mem::take(&mut self.space) + text;
        self.space = text.split_off(text.trim_end().len());
        if !text.is_empty() {
            out.push(Placed { piece: Piece::Text(text), end: end - self.space.len() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::joined;
    use super::*;

    fn flow(stops: &[&str], pieces: &[Piece]) -> (Vec<Piece>, Option<String>) {
        let stops: Vec<String> = stops.iter().map(|stop| stop.to_string()).collect();
        let mut flow = TextFlow::new(&stops);
        let (mut out, mut end) = (Vec::new(), 0);
        for piece in pieces.iter().cloned() {
            end += if let Piece::Text(text) = &piece { text.len() } else { 0 };
            flow.push(Placed { piece, end }, &mut out);
        }
        flow.finish(&mut out);
        (joined(out.into_iter().map(|placed| placed.piece)), flow.stop_sequence().map(str::to_owned))
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    #[test]
    fn a_stop_sequence_ends_the_text_before_it_however_it_is_split() {
        for pieces in [vec![text("one END two")], vec![text("one E"), text("N"), text("D two"), text(" more")]] {
            assert_eq!(flow(&["", "END"], &pieces), (vec![text("one ")], Some("END".into())));
        }
    }

    #[test]
    fn the_earliest_stop_sequence_counts_and_an_unfinished_one_is_text() {
        assert_eq!(flow(&["c", "b"], &[text("abc")]), (vec![text("a")], Some("b".into())));
        assert_eq!(flow(&["END"], &[text("the EN")]), (vec![text("the EN")], None));
        assert_eq!(flow(&["\n\n"], &[text("a\n"), text("\nb")]), (vec![text("a")], Some("\n\n".into())));
    }

    #[test]
    fn whitespace_around_calls_is_not_given_and_all_other_is() {
        let start = Piece::ToolStart { name: "X".into() };
        let pieces = [
            text(" a \n"),
            text(" b\n\n"),
            start.clone(),
            Piece::ToolEnd,
            text("\n"),
            text(" \n"),
            start.clone(),
            Piece::ToolEnd,
            text("\n"),
            text("c\n"),
        ];
        let expected = vec![text(" a \n b"), start.clone(), Piece::ToolEnd, start, Piece::ToolEnd, text("c\n")];
        assert_eq!(flow(&[], &pieces), (expected, None));
    }
}
