//! One outcome alone: its arguments, or its request with the recorded answer.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Stylize;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::{cut, diff};
use crate::review::argument::arguments;
use crate::review::state::{Opened, Page};
use crate::review::{PendingOutcome, Recording, State};

/// Draws it, and gives it back with the line that is the first to be seen.
pub(super) fn draw(state: &State, opened: Opened, frame: &mut Frame, area: Rect) -> Opened {
    let (mut lines, start) = match opened.page {
        Page::Arguments => of_arguments(state, opened, area),
        Page::Request => (of_request(state, opened.item, area.width), 0),
    };
    let last_start = lines.len().saturating_sub(area.height.into());
    let scroll = opened.scroll.unwrap_or(start).min(last_start);
    frame.render_widget(Paragraph::new(lines.split_off(scroll)), area);
    Opened { scroll: Some(scroll), ..opened }
}

/// The lines, and where to start: the chosen argument is to be seen with two lines above it, and with what changed of it.
fn of_arguments(state: &State, opened: Opened, area: Rect) -> (Vec<Line<'static>>, usize) {
    let recording = state.recordings.get(&opened.item);
    let mut lines = heading(state, opened.item);
    let mut start = 0;
    for (at, argument) in arguments(&state.items[opened.item]).iter().enumerate() {
        let mut argument = diff::lines(argument, recording, area.width);
        if at == opened.argument {
            let changed = argument.iter().position(diff::has_change).unwrap_or(0);
            let is_far_below = changed + 3 > usize::from(area.height);
            start = (lines.len() + if is_far_below { changed } else { 0 }).saturating_sub(2);
            // Its first line begins with two spaces.
            if let Some(indent) = argument.first_mut().and_then(|line| line.spans.first_mut()) {
                *indent = "▸ ".cyan().bold();
            }
        }
        lines.extend(argument);
    }
    (lines, start)
}

fn of_request(state: &State, item: usize, width: u16) -> Vec<Line<'static>> {
    let mut lines = heading(state, item);
    let width = usize::from(width).saturating_sub(4).max(1);
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
    lines
}

fn heading(state: &State, item: usize) -> Vec<Line<'static>> {
    let pending = &state.items[item];
    let mut lines = vec![
        Line::from(format!("  {}   {}", pending.id, state.changes[item].line)).bold(),
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
