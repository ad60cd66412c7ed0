//! The full screen: keys in, frames out. What they mean is in `crate::review`.

use std::io;
use std::path::PathBuf;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{CliError, Tally, print};
use crate::config::{add_rules, rules_as_toml};
use crate::review::{Decision, Key, Next, PendingOutcome, Recording, State, draw};
use crate::snapshot::Matching;

/// Reviews on the full screen, then carries out what was decided.
pub(super) fn run(pending: &[PathBuf], matching: Matching) -> Result<Tally, CliError> {
    let items = pending.iter().map(|path| PendingOutcome::read(path, &matching)).collect::<Result<Vec<_>, _>>()?;
    let mut state = State::new(items, matching);
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let next = decide(&mut terminal, &mut state);
    // Whatever went wrong, the terminal is as it was before.
    ratatui::try_restore().map_err(failed)?;
    match next.map_err(failed)? {
        Next::Write => carry_out(&state),
        Next::Leave | Next::Stay => Ok(Tally { skipped: pending.len(), ..Tally::default() }),
    }
}

fn failed(error: io::Error) -> CliError {
    CliError::backend(format!("the terminal: {error}; TERM=dumb reviews line by line"))
}

/// Shows the review and takes in keys until it ends.
fn decide(terminal: &mut DefaultTerminal, state: &mut State) -> io::Result<Next> {
    loop {
        if let Some(at) = state.wants_recording()
            && let Some(item) = state.item(at)
        {
            let recording = Recording::read(&item.snapshot);
            state.know(at, recording);
        }
        terminal.draw(|frame| draw(state, frame))?;
        let Event::Key(pressed) = event::read()? else { continue };
        let next = key(pressed).map_or(Next::Stay, |key| state.update(key));
        if next != Next::Stay {
            return Ok(next);
        }
    }
}

fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    Some(match pressed.code {
        KeyCode::Char('c') if pressed.modifiers.contains(KeyModifiers::CONTROL) => Key::Interrupt,
        // Esc and a letter soon after it come as one key with Alt. It must not be taken for the letter.
        KeyCode::Char(_) if pressed.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::CONTROL) => return None,
        KeyCode::Char(character) => Key::Char(character),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

/// Writes the rules first: what they cover is only removed once they are there.
fn carry_out(state: &State) -> Result<Tally, CliError> {
    if !state.rules().is_empty() {
        let toml = rules_as_toml(state.rules());
        let path = add_rules(state.rules())
            .map_err(|error| CliError::input(format!("{error}; nothing was written. Add the rules by hand:\n\n{toml}")))?;
        print(&format!("added to {}:\n\n{toml}\n", path.display()))?;
    }
    let mut tally = Tally::default();
    for (item, decision) in state.decisions() {
        tally.carry_out(&item.path, decision.unwrap_or(Decision::Skip))?;
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_right_after_escape_is_not_that_letter() {
        let read = |code: KeyCode, modifiers: KeyModifiers| key(KeyEvent::new(code, modifiers));
        assert_eq!(read(KeyCode::Char('a'), KeyModifiers::NONE), Some(Key::Char('a')));
        assert_eq!(read(KeyCode::Char('A'), KeyModifiers::SHIFT), Some(Key::Char('A')));
        assert_eq!(read(KeyCode::Char('a'), KeyModifiers::ALT), None);
        assert_eq!(read(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Interrupt));
        assert_eq!(read(KeyCode::Char('a'), KeyModifiers::CONTROL), None);
        assert_eq!(read(KeyCode::F(1), KeyModifiers::NONE), None);
    }
}
