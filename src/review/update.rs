//! What a key does to a review. Pure: nothing is written here.

use super::State;
use super::argument::arguments;
use super::rows::Row;
use super::state::{Decision, Mode, Opened, Page};

/// A key, as far as a review knows keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Key {
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Esc,
    Tab,
    Backspace,
    Char(char),
    /// Ctrl-C.
    Interrupt,
}

/// What is to happen after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The review goes on.
    Stay,
    /// It ends, and nothing is written.
    Leave,
    /// It ends at once, as after Ctrl-C, and nothing is written.
    Interrupted,
    /// It ends, and what was decided is carried out.
    Write,
}

/// Rows or lines that PageUp and PageDown move by.
const PAGE: isize = 10;

impl State {
    /// Takes in a key.
    pub fn update(&mut self, key: Key) -> Next {
        self.message.clear();
        if key == Key::Interrupt {
            return Next::Interrupted;
        }
        match self.mode {
            Mode::List => return self.in_list(key),
            Mode::Search => self.in_search(key),
            Mode::Open(opened) => self.in_open(key, opened),
            Mode::Help => self.mode = Mode::List,
            Mode::Confirm => match key {
                Key::Char('y') => return Next::Write,
                Key::Char('n') => return Next::Leave,
                Key::Esc => self.mode = Mode::List,
                _ => {}
            },
        }
        Next::Stay
    }

    fn in_list(&mut self, key: Key) -> Next {
        match key {
            Key::Up | Key::Char('k') => self.move_by(-1),
            Key::Down | Key::Char('j') => self.move_by(1),
            Key::PageUp => self.move_by(-PAGE),
            Key::PageDown => self.move_by(PAGE),
            Key::Home | Key::Char('g') => self.cursor = 0,
            Key::End | Key::Char('G') => self.move_by(isize::MAX / 2),
            Key::Enter | Key::Right | Key::Char('l') => self.open(),
            Key::Left | Key::Char('h') => self.fold(),
            Key::Char('/') => self.mode = Mode::Search,
            Key::Char('?') => self.mode = Mode::Help,
            Key::Esc => self.search_for(String::new()),
            Key::Char('u') => self.undo(),
            Key::Char('q') if self.has_something_to_write() => self.mode = Mode::Confirm,
            Key::Char('q') => return Next::Leave,
            Key::Char(key) => self.decide(key),
            _ => {}
        }
        Next::Stay
    }

    fn in_search(&mut self, key: Key) {
        let mut text = self.search.clone();
        match key {
            Key::Enter | Key::Down => self.mode = Mode::List,
            Key::Esc => {
                self.mode = Mode::List;
                text.clear();
            }
            Key::Backspace => drop(text.pop()),
            Key::Char(typed) => text.push(typed),
            _ => {}
        }
        self.search_for(text);
    }

    fn in_open(&mut self, key: Key, opened: Opened) {
        let Opened { item, argument, page, scroll } = opened;
        let last = arguments(&self.items[item]).len().saturating_sub(1);
        let mut show = |opened: Opened| self.mode = Mode::Open(opened);
        let mut scroll_by = |by: isize| show(Opened { scroll: Some(scroll.unwrap_or(0).saturating_add_signed(by)), ..opened });
        match (key, page) {
            (Key::PageUp, _) => scroll_by(-PAGE),
            (Key::PageDown, _) => scroll_by(PAGE),
            (Key::Home | Key::Char('g'), _) => scroll_by(isize::MIN),
            (Key::End | Key::Char('G'), _) => scroll_by(isize::MAX),
            (Key::Up | Key::Char('k'), Page::Request) => scroll_by(-1),
            (Key::Down | Key::Char('j'), Page::Request) => scroll_by(1),
            (Key::Up | Key::Char('k'), Page::Arguments) => {
                show(Opened { argument: argument.saturating_sub(1), scroll: None, ..opened });
            }
            (Key::Down | Key::Char('j'), Page::Arguments) => {
                show(Opened { argument: (argument + 1).min(last), scroll: None, ..opened });
            }
            (Key::Tab, Page::Request) => show(Opened { page: Page::Arguments, scroll: None, ..opened }),
            (Key::Tab, Page::Arguments) => show(Opened { page: Page::Request, scroll: None, ..opened }),
            (Key::Esc | Key::Char('q'), _) => self.close(item),
            (Key::Right | Key::Char('l'), _) => self.open_another(1),
            (Key::Left | Key::Char('h'), _) => self.open_another(-1),
            (Key::Char('m'), Page::Arguments) => {
                self.remember();
                self.turn_rule(item, argument);
            }
            (Key::Char('u'), _) => self.undo(),
            (Key::Char(key), _) => self.decide(key),
            _ => {}
        }
    }

    /// Decides by a key, if it is one of a decision, and goes on to the next outcome.
    fn decide(&mut self, key: char) {
        let (items, decision) = match key {
            'a' => (self.chosen(), Decision::Accept),
            '+' => (self.chosen(), Decision::AcceptBeside),
            'r' => (self.chosen(), Decision::Reject),
            's' => (self.chosen(), Decision::Skip),
            'A' => (self.all_of_this_kind(), Decision::Accept),
            'R' => (self.all_of_this_kind(), Decision::Reject),
            _ => return,
        };
        if items.is_empty() {
            return;
        }
        let accepts = matches!(decision, Decision::Accept | Decision::AcceptBeside);
        let is_malformed = |item: &usize| accepts && self.items[*item].snapshot.outcome.malformed_call().is_some();
        let (malformed, items): (Vec<usize>, Vec<usize>) = items.into_iter().partition(is_malformed);
        if items.is_empty() {
            self.message = "malformed arguments cannot be accepted; fix the backend's tool calls".into();
            return;
        }
        self.remember();
        items.iter().for_each(|item| self.marks.decisions[*item] = Some(decision));
        let word = match decision {
            Decision::Accept => "to be accepted",
            Decision::AcceptBeside => "to be accepted beside what is accepted",
            Decision::Reject => "to be rejected",
            Decision::Skip | Decision::Covered => "left pending",
        };
        let what = if let [item] = items[..] { self.items[item].id.clone() } else { items.len().to_string() };
        let not = if malformed.is_empty() { String::new() } else { format!("; {} malformed cannot be", malformed.len()) };
        self.message = format!("{what} {word}{not}; u undoes it");
        match self.mode {
            Mode::Open(_) => self.open_next_undecided(),
            _ => self.go_to_next_undecided(),
        }
    }

    fn remember(&mut self) {
        self.past.push(self.marks.clone());
    }

    fn undo(&mut self) {
        self.message = match self.past.pop() {
            Some(marks) => {
                self.marks = marks;
                "undone".into()
            }
            None => "nothing to undo".into(),
        };
    }

    fn move_by(&mut self, by: isize) {
        let last = self.rows().len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(by).min(last);
    }

    /// Unfolds a group, or folds it; opens an outcome.
    fn open(&mut self) {
        match self.row() {
            Some(Row::Group(group)) => {
                let was_unfolded = self.unfolded.remove(&group);
                if !was_unfolded {
                    self.unfolded.insert(group);
                }
            }
            Some(Row::Item { item, .. }) => self.mode = Mode::Open(Opened::new(item)),
            None => {}
        }
    }

    /// Goes back to the list, to the row of the outcome that was open.
    fn close(&mut self, item: usize) {
        self.mode = Mode::List;
        let is_its_row = |row: &Row| match row {
            Row::Item { item: other, .. } => *other == item,
            Row::Group(group) => !self.unfolded.contains(group) && self.groups[*group].members.contains(&item),
        };
        self.cursor = self.rows().iter().position(is_its_row).unwrap_or(self.cursor);
    }

    /// Folds the group that the cursor is in, and goes to its heading.
    fn fold(&mut self) {
        let (Some(Row::Group(group)) | Some(Row::Item { group, .. })) = self.row() else { return };
        self.unfolded.remove(&group);
        let heading = self.rows().iter().position(|row| *row == Row::Group(group));
        self.cursor = heading.unwrap_or(self.cursor);
    }

    fn search_for(&mut self, text: String) {
        if text != self.search {
            self.search = text;
            self.cursor = 0;
        }
    }

    /// Whether anything of a row is undecided.
    fn is_undecided(&self, row: &Row) -> bool {
        let undecided = |item: &usize| self.marks.decisions[*item].is_none();
        match row {
            Row::Item { item, .. } => undecided(item),
            Row::Group(group) => self.found(&self.groups[*group]).iter().any(undecided),
        }
    }

    /// Goes on to the next row with anything undecided; stays if there is none.
    fn go_to_next_undecided(&mut self) {
        let rows = self.rows();
        let mut after = rows.iter().enumerate().skip(self.cursor + 1).chain(rows.iter().enumerate().take(self.cursor));
        let next = after.find(|(_, row)| self.is_undecided(row)).map(|(at, _)| at);
        self.cursor = next.unwrap_or(self.cursor);
    }

    /// The outcomes in the list's order, folded or not, as far as a search finds them.
    fn in_order(&self) -> Vec<usize> {
        self.groups.iter().flat_map(|group| self.found(group)).collect()
    }

    /// Opens the outcome so many further on.
    fn open_another(&mut self, by: isize) {
        let Mode::Open(Opened { item, .. }) = self.mode else { return };
        let order = self.in_order();
        let at = order.iter().position(|other| *other == item).and_then(|at| at.checked_add_signed(by));
        if let Some(item) = at.and_then(|at| order.get(at)) {
            self.mode = Mode::Open(Opened::new(*item));
        }
    }

    /// Opens the next outcome of which nothing is decided; back to the list if there is none.
    fn open_next_undecided(&mut self) {
        let Mode::Open(Opened { item, .. }) = self.mode else { return };
        let order = self.in_order();
        let at = order.iter().position(|other| *other == item).unwrap_or(0);
        let (before, after) = order.split_at((at + 1).min(order.len()));
        let next = after.iter().chain(before).find(|item| self.marks.decisions[**item].is_none());
        match next {
            Some(item) => self.mode = Mode::Open(Opened::new(*item)),
            None => self.close(item),
        }
    }
}

#[cfg(test)]
mod tests;
