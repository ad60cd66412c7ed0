//! How a review looks, from 80 columns and 24 rows on. Colours are the terminal's own sixteen, and no meaning is in colour alone.

mod diff;
mod list;
mod open;
#[cfg(test)]
mod tests;

use std::ops::Range;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Stylize;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::State;
use super::state::{Decision, Mode, Opened, Page};

/// Draws what the review shows now, and keeps how far an open outcome is scrolled within its lines.
pub fn draw(state: &mut State, frame: &mut Frame) {
    let one = Constraint::Length(1);
    let [title, body, message, keys] = Layout::vertical([one, Constraint::Fill(1), one, one]).areas(frame.area());
    frame.render_widget(Paragraph::new(tally(state)).reversed(), title);
    match state.mode {
        Mode::List | Mode::Search => list::draw(state, frame, body),
        Mode::Open(opened) => state.mode = Mode::Open(open::draw(state, opened, frame, body)),
        Mode::Help => draw_lines(HELP.lines().map(Line::from).collect(), frame, body),
        Mode::Confirm => draw_lines(confirmation(state), frame, body),
    }
    let said = match state.mode {
        Mode::Search => format!("/{}▏", state.search),
        _ if state.message.is_empty() && !state.search.is_empty() => format!("found with /{}; Esc shows all", state.search),
        _ => state.message.clone(),
    };
    frame.render_widget(Paragraph::new(said).bold(), message);
    frame.render_widget(Paragraph::new(known_keys(state.mode)).dim(), keys);
}

/// Cuts a text into lines of at most so many columns, as ranges of its characters. Some characters take two columns.
fn cut(text: &[char], width: usize) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let (mut from, mut columns) = (0, 0);
    for (at, character) in text.iter().enumerate() {
        let own = Span::raw(character.to_string()).width();
        if columns + own > width && at > from {
            lines.push(from..at);
            (from, columns) = (at, 0);
        }
        columns += own;
    }
    lines.push(from..text.len());
    lines
}

fn draw_lines(lines: Vec<Line>, frame: &mut Frame, area: Rect) {
    frame.render_widget(Paragraph::new(lines), area);
}

fn tally(state: &State) -> String {
    let [accepted, beside, rejected, skipped, covered] =
        [Decision::Accept, Decision::AcceptBeside, Decision::Reject, Decision::Skip, Decision::Covered]
            .map(|decision| state.count(decision));
    let all = state.items.len();
    let accepted = accepted + beside;
    let left = all - accepted - rejected - skipped - covered;
    let covered = if covered > 0 { format!(", {covered} under new rules") } else { String::new() };
    let unreadable = if state.unreadable > 0 { format!(", {} unreadable", state.unreadable) } else { String::new() };
    format!(
        " {all} pending: {accepted} to accept, {rejected} to reject, {skipped} skipped{covered}, {left} undecided{unreadable}"
    )
}

fn confirmation(state: &State) -> Vec<Line<'static>> {
    let mut lines = vec!["".into(), "  Write what was decided?".bold().into(), "".into()];
    let decisions = [
        (Decision::Accept, "to accept"),
        (Decision::AcceptBeside, "to accept beside what is accepted"),
        (Decision::Reject, "to reject"),
        (Decision::Covered, "that need not wait under the new rules"),
        (Decision::Skip, "skipped, which stay pending"),
    ];
    let counts = decisions.map(|(decision, words)| (state.count(decision), words));
    lines.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("  {count:>5} {words}").into()));
    if !state.marks.rules.is_empty() {
        lines.push(format!("  {:>5} match rules to be added to anyclaude.toml", state.marks.rules.len()).into());
    }
    lines.extend([
        "".into(),
        "  y    write it".into(),
        "  n    leave, and change nothing".into(),
        "  Esc  go on reviewing".into(),
    ]);
    lines
}

fn known_keys(mode: Mode) -> &'static str {
    match mode {
        Mode::List => "a accept  r reject  s skip  A R all alike  u undo  Enter open  / find  ?  q quit",
        Mode::Search => "Enter keeps what is found  Esc shows all",
        Mode::Open(Opened { page: Page::Arguments, .. }) => {
            "a accept  + beside  r reject  s skip  m rule  Tab request  ← → others  Esc back"
        }
        Mode::Open(Opened { page: Page::Request, .. }) => {
            "a accept  + beside  r reject  s skip  ↑ ↓ scroll  Tab arguments  Esc back"
        }
        Mode::Help => "any key goes back",
        Mode::Confirm => "",
    }
}

const HELP: &str = "
  a   accept            in the place of what is accepted
  +   accept beside     both are right from now on
  r   reject            the accepted one stays
  s   skip              it stays pending
  A   accept all that changed in the same way
  R   reject all that changed in the same way
  u   undo

  ↑ ↓ PgUp PgDn g G     move (j k too)
  Enter                 unfold a group; open an outcome
                        in an outcome ↑ ↓ choose an argument, the others scroll
  ← →                   fold, unfold; in an outcome: the one before, the next
  Tab                   in an outcome: its arguments, or its request and the
                        recorded answer
  m                     in an outcome: make a match rule of the chosen argument;
                        again: a less strict one, at last none
  /                     find by name, change, description or arguments
  Esc                   back; it never decides
  q                     quit: asks before anything is written
  Ctrl-Z                stops it until `fg`";
