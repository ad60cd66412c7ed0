//! One outcome alone: its arguments, or its request with the recorded answer.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Stylize;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::{cut, diff};
use crate::review::argument::arguments;
use crate::review::{PendingOutcome, Recording, State};

pub(super) fn draw_arguments(state: &State, item: usize, chosen: usize, frame: &mut Frame, area: Rect) {
    let pending = &state.items[item];
    let recording = state.recordings.get(&item);
    let mut lines = heading(state, item);
    let mut first_of_chosen = 0;
    for (at, argument) in arguments(pending).iter().enumerate() {
        let mut argument = diff::lines(argument, recording, area.width);
        if at == chosen {
            first_of_chosen = lines.len();
            // Its first line begins with two spaces.
            if let Some(indent) = argument.first_mut().and_then(|line| line.spans.first_mut()) {
                *indent = "▸ ".cyan().bold();
            }
        }
        lines.extend(argument);
    }
    // The chosen argument is to be seen, with two lines above it.
    let last_start = lines.len().saturating_sub(area.height.into());
    let scroll = if last_start == 0 { 0 } else { first_of_chosen.saturating_sub(2).min(last_start) };
    frame.render_widget(Paragraph::new(lines.split_off(scroll)), area);
}

pub(super) fn draw_request(state: &State, item: usize, scroll: u16, frame: &mut Frame, area: Rect) {
    let mut lines = heading(state, item);
    let width = usize::from(area.width).saturating_sub(4).max(1);
    let mut paragraph = |title: &str, text: &str| {
        lines.push(Line::from(format!("  {title}")).bold());
        lines.extend(wrapped(text, width).into_iter().map(|line| Line::from(format!("    {line}"))));
        lines.push("".into());
    };
    match state.recordings.get(&item) {
        None => paragraph("trace", "not read yet"),
        Some(Recording::Missing(why)) => paragraph("trace", why),
        Some(Recording::Known { turn, request, outcome }) => {
            paragraph("user", turn);
            let answer = outcome.as_ref().map(|outcome| outcome.to_text());
            paragraph("recorded answer", answer.as_deref().unwrap_or("none"));
            paragraph("request", request);
        }
    }
    let scroll = usize::from(scroll).min(lines.len().saturating_sub(1));
    frame.render_widget(Paragraph::new(lines.split_off(scroll)), area);
}

fn heading(state: &State, item: usize) -> Vec<Line<'static>> {
    let pending = &state.items[item];
    let mut lines = vec![
        Line::from(format!("  {}   {}", pending.id, state.changes[item])).bold(),
        Line::from(format!("  {}", of_model(pending))),
    ];
    if let Some(Recording::Known { turn, .. }) = state.recordings.get(&item) {
        lines.push(Line::from(format!("  user: {}", turn.split_whitespace().collect::<Vec<_>>().join(" "))));
    }
    lines.push("".into());
    lines
}

fn of_model(pending: &PendingOutcome) -> String {
    let Some(info) = &pending.snapshot.metadata.info else { return "the snapshot names no model".into() };
    let tokens = info.prompt_tokens.map(|tokens| format!(", {tokens} tokens of prompt")).unwrap_or_default();
    format!("model {}, tool calls as {}{tokens}", info.model, info.tool_format)
}

/// The text in lines of at most this many columns.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let of_line = |line: &str| -> Vec<String> {
        let characters: Vec<char> = line.chars().collect();
        cut(&characters, width).into_iter().map(|range| characters[range].iter().collect()).collect()
    };
    text.lines().flat_map(of_line).collect()
}
