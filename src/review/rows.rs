//! The rows of the list: a group's heading, and its outcomes where it is unfolded. Pure.

use super::State;
use super::state::{Group, Mode, Opened};
use crate::snapshot::Outcome;

/// A row of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// The heading of several outcomes that changed in the same way.
    Group(usize),
    /// An outcome of this group.
    Item { group: usize, item: usize },
}

impl State {
    /// The rows that are to be seen. A group of one has no heading, and a search unfolds all.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            let found = self.found(group);
            let has_heading = group.members.len() > 1;
            if has_heading && !found.is_empty() {
                rows.push(Row::Group(at));
            }
            if !has_heading || self.unfolded.contains(&at) || !self.search.is_empty() {
                rows.extend(found.into_iter().map(|item| Row::Item { group: at, item }));
            }
        }
        rows
    }

    /// The row that the keys act on; `None` if a search found nothing.
    pub(super) fn row(&self) -> Option<Row> {
        self.rows().get(self.cursor).copied()
    }

    /// The members of a group that a search finds: by name, change, description or the calls that came.
    pub(super) fn found(&self, group: &Group) -> Vec<usize> {
        let text = self.search.to_lowercase();
        let holds = |item: &usize| {
            let pending = &self.items[*item];
            let description = pending.snapshot.metadata.description.as_deref().unwrap_or_default();
            let calls = [Some(&pending.snapshot.outcome), pending.nearest.as_ref()];
            let calls: String = calls.into_iter().flatten().map(Outcome::to_text).collect();
            let places = [pending.id.as_str(), &self.changes[*item].whole, description, &calls];
            places.iter().any(|place| place.to_lowercase().contains(&text))
        };
        group.members.iter().copied().filter(|item| text.is_empty() || holds(item)).collect()
    }

    /// The outcomes that a decision is for: those of a heading, or the one of a row.
    pub(super) fn chosen(&self) -> Vec<usize> {
        match (self.mode, self.row()) {
            (Mode::Open(Opened { item, .. }), _) | (_, Some(Row::Item { item, .. })) => vec![item],
            (_, Some(Row::Group(group))) => self.found(&self.groups[group]),
            (_, None) => Vec::new(),
        }
    }

    /// All outcomes that changed in the same way as the chosen one, as far as they are to be seen.
    pub(super) fn all_of_this_kind(&self) -> Vec<usize> {
        let chosen = self.chosen();
        let of_chosen = |group: &&Group| chosen.first().is_some_and(|item| group.members.contains(item));
        self.groups.iter().find(of_chosen).map(|group| self.found(group)).unwrap_or_default()
    }

    /// The outcome that is shown below the list, or alone.
    pub(super) fn shown_item(&self) -> Option<usize> {
        self.chosen().first().copied()
    }
}
