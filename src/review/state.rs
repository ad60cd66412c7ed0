//! All that a full-screen review knows. Pure data: `update` changes it, `screen` shows it.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Change, change};
use super::{PendingOutcome, Recording};
use crate::snapshot::{Matching, RuleText};

/// What to do with a pending outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Accept it.
    Accept,
    /// Accept it beside what is accepted already.
    AcceptBeside,
    /// Reject it.
    Reject,
    /// Leave it pending.
    Skip,
    /// A match rule of this review makes it equal to what is accepted, so that it need not wait.
    Covered,
}

/// Outcomes that changed in the same way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub change: Change,
    pub members: Vec<usize>,
}

/// What was decided so far; what undo goes back over.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Marks {
    pub decisions: Vec<Option<Decision>>,
    pub rules: Vec<RuleText>,
}

/// An outcome that is shown alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub item: usize,
    /// The chosen argument.
    pub argument: usize,
    pub page: Page,
    /// The first line that is seen; `None` until it is drawn, from where the chosen argument changed.
    pub scroll: Option<usize>,
}

/// What of an outcome is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Its arguments.
    Arguments,
    /// Its request, with the recorded answer.
    Request,
}

impl Opened {
    /// The outcome from its first argument on.
    pub(super) fn new(item: usize) -> Self {
        Self { item, argument: 0, page: Page::Arguments, scroll: None }
    }
}

/// What is on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The list.
    List,
    /// The list, while a text to search for is typed.
    Search,
    /// One outcome.
    Open(Opened),
    /// What the keys do.
    Help,
    /// Whether to write the decisions.
    Confirm,
}

/// A full-screen review.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) items: Vec<PendingOutcome>,
    /// The change of each item.
    pub(super) changes: Vec<Change>,
    /// The largest first.
    pub(super) groups: Vec<Group>,
    /// The match rules of the settings.
    pub(super) matching: Matching,
    pub(super) marks: Marks,
    pub(super) past: Vec<Marks>,
    pub(super) recordings: BTreeMap<usize, Recording>,
    pub(super) unfolded: BTreeSet<usize>,
    /// The number of the row that the keys act on.
    pub(super) cursor: usize,
    pub(super) search: String,
    pub(super) mode: Mode,
    /// How many pending files cannot be read.
    pub(super) unreadable: usize,
    /// What the last key came to, if there is anything to say of it.
    pub(super) message: String,
}

impl State {
    /// A review of these outcomes, of which nothing is decided.
    pub fn new(items: Vec<PendingOutcome>, matching: Matching) -> Self {
        let changes: Vec<Change> = items.iter().map(change).collect();
        let mut groups: Vec<Group> = Vec::new();
        for (item, change) in changes.iter().enumerate() {
            match groups.iter_mut().find(|group| group.change == *change) {
                Some(group) => group.members.push(item),
                None => groups.push(Group { change: change.clone(), members: vec![item] }),
            }
        }
        groups.sort_by_key(|group| std::cmp::Reverse(group.members.len()));
        let marks = Marks { decisions: vec![None; items.len()], rules: Vec::new() };
        Self {
            items,
            changes,
            groups,
            matching,
            marks,
            past: Vec::new(),
            recordings: BTreeMap::new(),
            unfolded: BTreeSet::new(),
            cursor: 0,
            search: String::new(),
            mode: Mode::List,
            unreadable: 0,
            message: String::new(),
        }
    }

    /// The same review, of so many pending files more that cannot be read.
    pub fn beside_unreadable(self, unreadable: usize) -> Self {
        Self { unreadable, ..self }
    }

    /// The outcome whose recording would be shown and is not known yet.
    pub fn wants_recording(&self) -> Option<usize> {
        self.shown_item().filter(|item| !self.recordings.contains_key(item))
    }

    /// The pending outcome with this number.
    pub fn item(&self, item: usize) -> Option<&PendingOutcome> {
        self.items.get(item)
    }

    /// Takes in what a trace holds.
    pub fn know(&mut self, item: usize, recording: Recording) {
        self.recordings.insert(item, recording);
    }

    /// What was decided of each pending outcome.
    pub fn decisions(&self) -> impl Iterator<Item = (&PendingOutcome, Option<Decision>)> {
        self.items.iter().zip(self.marks.decisions.iter().copied())
    }

    /// The match rules that were made.
    pub fn rules(&self) -> &[RuleText] {
        &self.marks.rules
    }

    /// How many outcomes have this decision.
    pub(super) fn count(&self, decision: Decision) -> usize {
        self.marks.decisions.iter().filter(|other| **other == Some(decision)).count()
    }

    /// Whether leaving would lose anything.
    pub(super) fn has_something_to_write(&self) -> bool {
        let writes = |decision: &Option<Decision>| decision.is_some_and(|decision| decision != Decision::Skip);
        !self.marks.rules.is_empty() || self.marks.decisions.iter().any(writes)
    }
}
