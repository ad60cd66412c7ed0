//! The list of pending outcomes, and below it the one that the cursor is on.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};

use super::diff;
use crate::review::State;
use crate::review::argument::arguments;
use crate::review::rows::Row;
use crate::review::state::Decision;

pub(super) fn draw(state: &State, frame: &mut Frame, area: Rect) {
    let [list, below] = Layout::vertical([Constraint::Fill(1), Constraint::Length(area.height / 2)]).areas(area);
    let (rows, height) = (state.rows(), usize::from(list.height));
    // The cursor is in the middle wherever there is enough above and below.
    let first = state.cursor.saturating_sub(height / 2).min(rows.len().saturating_sub(height));
    let lines = rows.iter().enumerate().skip(first).take(height).map(|(at, row)| {
        let line = line(state, row);
        if at == state.cursor { line.reversed() } else { line }
    });
    let lines: Vec<Line> = lines.collect();
    let nothing = || vec!["  nothing found".into()];
    frame.render_widget(Paragraph::new(if rows.is_empty() { nothing() } else { lines }), list);
    draw_chosen(state, frame, below);
}

fn line(state: &State, row: &Row) -> Line<'static> {
    match *row {
        Row::Group(at) => {
            let group = &state.groups[at];
            let found = state.found(group);
            let decided = found.iter().filter(|item| state.marks.decisions[**item].is_some()).count();
            let sign = if state.unfolded.contains(&at) || !state.search.is_empty() { "▾" } else { "▸" };
            let decided = if decided > 0 { format!("  ({decided} decided)") } else { String::new() };
            Line::from(format!("{sign} {} × {}{decided}", found.len(), group.change.line)).bold()
        }
        Row::Item { group, item } => {
            let pending = &state.items[item];
            let is_alone = state.groups[group].members.len() == 1;
            let (indent, words) = match is_alone {
                true => ("", state.changes[item].line.clone()),
                false => ("  ", pending.snapshot.metadata.description.clone().unwrap_or_default()),
            };
            Line::from(vec![
                indent.into(),
                mark(state.marks.decisions[item]),
                format!(" {}  ", pending.id).into(),
                if is_alone { words.into() } else { words.dim() },
            ])
        }
    }
}

/// The letter of a decision's key.
fn mark(decision: Option<Decision>) -> Span<'static> {
    match decision {
        None => " ".into(),
        Some(Decision::Accept) => "a".green().bold(),
        Some(Decision::AcceptBeside) => "+".green().bold(),
        Some(Decision::Reject) => "r".red().bold(),
        Some(Decision::Skip) => "s".yellow().bold(),
        Some(Decision::Covered) => "m".cyan().bold(),
    }
}

fn draw_chosen(state: &State, frame: &mut Frame, area: Rect) {
    let chosen = state.chosen();
    let Some(item) = chosen.first() else { return };
    let pending = &state.items[*item];
    let title = match chosen.len() {
        1 => format!(" {} ", pending.id),
        all => format!(" {} and {} more that changed in the same way ", pending.id, all - 1),
    };
    let block = Block::new().borders(Borders::TOP).border_style(Style::new().fg(Color::DarkGray)).title(title);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let recording = state.recordings.get(item);
    let mut lines: Vec<Line> =
        arguments(pending).iter().flat_map(|argument| diff::lines(argument, recording, inside.width)).collect();
    if lines.is_empty() {
        lines.push("  answers with text, and calls no tool".into());
    }
    let height = usize::from(inside.height);
    if lines.len() > height && height > 0 {
        let more = lines.len() - height + 1;
        lines.truncate(height - 1);
        lines.push(format!("  … {more} more lines: open it").bold().into());
    }
    frame.render_widget(Paragraph::new(lines), inside);
}
