//! The full screen: keys in, frames out. What they mean is in `crate::review`.

use std::io;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::reading::{Pending, Readable};
use super::screen::Screen;
use super::{CliError, Tally, print};
use crate::config::{add_rules, rules_as_toml};
use crate::review::{Decision, Key, Next, Recording, State, draw};
use crate::snapshot::{Matching, PendingFile, SnapshotError};

/// Reviews on the full screen, then carries out what was decided. `None` if Ctrl-C ended it.
pub(super) fn run(pending: Vec<Pending>, matching: Matching) -> Result<Option<Tally>, CliError> {
    let (files, state, unreadable) = review_of(pending, matching);
    let mut tally = Tally::default();
    if !files.is_empty() {
        let mut state = state;
        match show(&mut state)? {
            Next::Interrupted => return Ok(None),
            Next::Write => carry_out(&state, &files, &mut tally)?,
            Next::Leave | Next::Stay => tally.skipped = files.len(),
        }
    }
    unreadable.iter().try_for_each(|error| tally.leave(error))?;
    Ok(Some(tally))
}

/// The files that can be read, a review of what they hold, and why the others cannot be read.
fn review_of(pending: Vec<Pending>, matching: Matching) -> (Vec<PendingFile>, State, Vec<SnapshotError>) {
    let (mut files, mut items, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
    for one in pending {
        match one.read {
            Ok(Readable { file, outcome }) => {
                files.push(file);
                items.push(outcome);
            }
            Err(error) => unreadable.push(error),
        }
    }
    let state = State::new(items, matching).beside_unreadable(unreadable.len());
    (files, state, unreadable)
}

fn failed(error: io::Error) -> CliError {
    CliError::backend(format!("the terminal: {error}; TERM=dumb reviews line by line"))
}

fn show(state: &mut State) -> Result<Next, CliError> {
    let mut screen = Screen::open().map_err(failed)?;
    let next = decide(&mut screen, state);
    // Whatever went wrong, the terminal is as it was before.
    screen.close().map_err(failed)?;
    next.map_err(failed)
}

/// Shows the review and takes in keys until it ends.
fn decide(screen: &mut Screen, state: &mut State) -> io::Result<Next> {
    loop {
        if let Some(at) = state.wants_recording()
            && let Some(item) = state.item(at)
        {
            let recording = Recording::read(&item.snapshot);
            state.know(at, recording);
        }
        screen.terminal.draw(|frame| draw(state, frame))?;
        let Event::Key(pressed) = event::read()? else { continue };
        if is_suspend(pressed) {
            screen.suspend()?;
            continue;
        }
        let next = key(pressed).map_or(Next::Stay, |key| state.update(key));
        if next != Next::Stay {
            return Ok(next);
        }
    }
}

/// Ctrl-Z.
fn is_suspend(pressed: KeyEvent) -> bool {
    pressed.code == KeyCode::Char('z') && pressed.modifiers == KeyModifiers::CONTROL && pressed.kind != KeyEventKind::Release
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

/// Writes the rules first: what they cover is only removed once they are there. Without them it stays pending, and all else that
/// was decided is carried out.
fn carry_out(state: &State, files: &[PendingFile], tally: &mut Tally) -> Result<(), CliError> {
    let has_rules = state.rules().is_empty() || write_rules(state, tally)?;
    for (file, (_, decision)) in files.iter().zip(state.decisions()) {
        let decision = match decision {
            None => Decision::Skip,
            Some(Decision::Covered) if !has_rules => Decision::Skip,
            Some(decision) => decision,
        };
        tally.carry_out(file, decision)?;
    }
    Ok(())
}

/// Adds the rules to the settings; whether that worked.
fn write_rules(state: &State, tally: &mut Tally) -> Result<bool, CliError> {
    let toml = rules_as_toml(state.rules());
    match add_rules(state.rules()) {
        Ok(path) => print(&format!("added to {}:\n\n{toml}\n", path.display()))?,
        Err(error) => {
            tally.rules_left = true;
            print(&format!("the rules were not added: {error}. Add them by hand:\n\n{toml}\n"))?;
        }
    }
    Ok(!tally.rules_left)
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
        assert!(is_suspend(KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL)));
    }
}
