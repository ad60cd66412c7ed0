//! Which fields of an object are known to be structure, by the tables of `tables` and `answer_tables`.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::answer_tables::*;
use super::kinds::{FieldKind, FieldTable, ObjectKind};
use super::tables::*;

impl ObjectKind {
    fn fields(self) -> FieldTable {
        match self {
            Self::Request => REQUEST,
            Self::Message => MESSAGE,
            Self::Item => ITEM,
            Self::Block => BLOCK,
            Self::Tool => TOOL,
            Self::Schema => SCHEMA,
            Self::Format => FORMAT,
            Self::OutputConfig => OUTPUT_CONFIG,
            Self::Source => SOURCE,
            Self::Citation => CITATION,
            Self::McpServer => MCP_SERVER,
            Self::Answer => ANSWER,
            Self::ResponsesEvent => RESPONSES_EVENT,
            Self::Delta => DELTA,
            Self::Choice => CHOICE,
            Self::Error => ERROR,
        }
    }

    /// The kind of a field; `None` if it is not known.
    pub(super) fn kind(self, field: &str) -> Option<FieldKind> {
        self.fields().iter().find(|(name, _)| *name == field).map(|(_, kind)| *kind)
    }
}

/// Every name of a field in the tables.
static FIELDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let listed = ObjectKind::ALL.into_iter().flat_map(|object| object.fields()).map(|(name, _)| *name);
    listed.chain(SETTINGS.iter().copied()).collect()
});

/// Whether a table names this field, so that its name says nothing of its own.
pub(super) fn is_field(name: &str) -> bool {
    FIELDS.contains(name)
}
