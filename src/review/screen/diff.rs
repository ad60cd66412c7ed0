//! One argument: what is accepted, what came, and what the recorded answer has there.

use std::ops::Range;

use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use serde_json::Value;

use super::cut;
use crate::review::Recording;
use crate::review::argument::Argument;
use crate::review::change::differing;

/// The width of the names before the values.
const NAME: usize = 15;

/// The lines of an argument. Values are JSON, so that white space is seen.
pub(super) fn lines(argument: &Argument, recording: Option<&Recording>, width: u16) -> Vec<Line<'static>> {
    let found = argument.found.as_ref().map(Value::to_string);
    let recorded = recording.and_then(Recording::outcome).and_then(|outcome| argument.in_outcome(outcome));
    let recorded = recorded.map(|value| value.to_string());
    let width = usize::from(width);
    let Some(kind) = &argument.kind else {
        let value = found.unwrap_or_default();
        let mut lines = unchanged(&format!("{}  {value}", argument.label), width);
        if argument.accepted.is_none() {
            lines = vec![Line::from(vec!["  ".into(), argument.label.clone().into()])];
            lines.extend(valued("pending", &value, None, Style::new().fg(Color::Green), width));
            lines.extend(recorded.into_iter().flat_map(|value| valued("recorded", &value, None, Style::new(), width)));
        }
        return lines;
    };
    let note = argument.note.as_ref().map(|note| format!("  {note}")).unwrap_or_default();
    let mut lines =
        vec![Line::from(vec!["  ".into(), argument.label.clone().bold(), "  ".into(), kind.clone().yellow(), note.into()])];
    let accepted = argument.accepted.as_ref().map(Value::to_string);
    let (gone, new) = match (&accepted, &found) {
        (Some(old), Some(new)) => {
            let (gone, added) = differing(old, new);
            (Some(part(old, gone)), Some(part(new, added)))
        }
        _ => (None, None),
    };
    let nothing = || "(nothing)".to_owned();
    lines.extend(valued("accepted", &accepted.unwrap_or_else(nothing), gone, Style::new().fg(Color::Red), width));
    lines.extend(valued("pending", &found.unwrap_or_else(nothing), new, Style::new().fg(Color::Green), width));
    lines.extend(recorded.into_iter().flat_map(|value| valued("recorded", &value, None, Style::new(), width)));
    lines
}

/// An argument that did not change, in as many lines as it takes.
fn unchanged(text: &str, width: usize) -> Vec<Line<'static>> {
    let characters: Vec<char> = text.chars().collect();
    let line = |range: Range<usize>| Line::from(vec!["  ".into(), Span::raw(characters[range].iter().collect::<String>())]).dim();
    cut(&characters, width.saturating_sub(2).max(1)).into_iter().map(line).collect()
}

/// Whether a line has a part that changed.
pub(super) fn has_change(line: &Line) -> bool {
    line.spans.iter().any(|span| span.style.add_modifier.contains(Modifier::UNDERLINED) && !span.content.is_empty())
}

/// Where a part of a text is, in characters.
fn part(whole: &str, part: &str) -> (usize, usize) {
    // It is a slice of the whole.
    let start = whole[..part.as_ptr() as usize - whole.as_ptr() as usize].chars().count();
    (start, start + part.chars().count())
}

/// A value with its name before it, in as many lines as it takes. `changed`: the characters that are emphasised.
fn valued(name: &str, value: &str, changed: Option<(usize, usize)>, style: Style, width: usize) -> Vec<Line<'static>> {
    let characters: Vec<char> = value.chars().collect();
    let room = width.saturating_sub(NAME).max(1);
    let (start, end) = changed.unwrap_or((0, 0));
    let line = |(at, range): (usize, Range<usize>)| {
        let (from, first) = (range.start, if at == 0 { name } else { "" });
        let chunk = &characters[range];
        let mut spans = vec![Span::raw(format!("{first:>12}   "))];
        let within = |position: usize| position.clamp(from, from + chunk.len()) - from;
        for (range, style) in [
            (0..within(start), style),
            (within(start)..within(end), style.bold().underlined()),
            (within(end)..chunk.len(), style),
        ] {
            spans.push(Span::styled(chunk[range].iter().collect::<String>(), style));
        }
        Line::from(spans)
    };
    cut(&characters, room).into_iter().enumerate().map(line).collect()
}
