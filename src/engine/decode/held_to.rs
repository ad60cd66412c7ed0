//! A grammar, and how much of a schema it enforces.

use std::sync::Arc;

use super::follower::{Follower, Grammar};

/// A grammar, and how completely it enforces its schema, if it has one.
#[derive(Clone)]
pub(super) struct HeldTo {
    grammar: Arc<Grammar>,
    /// The parts of the schema that the grammar does not enforce, in words for people.
    not_enforced: Vec<String>,
}

impl HeldTo {
    /// A grammar that enforces all that it stands for.
    pub(super) fn entirely(grammar: Grammar) -> Self {
        Self { grammar: Arc::new(grammar), not_enforced: vec![] }
    }

    /// A grammar made of what was left of a schema.
    pub(super) fn except(left_out: Vec<String>, mut grammar: Grammar) -> Self {
        let not_enforced = [left_out, grammar.not_enforced()].concat();
        Self { grammar: Arc::new(grammar), not_enforced }
    }

    /// The same with more that was left out before.
    pub(super) fn after_leaving_out(self, left_out: Vec<String>) -> Self {
        Self { not_enforced: [left_out, self.not_enforced].concat(), ..self }
    }

    /// The same, in place of a grammar of a schema that cannot be enforced for this reason.
    pub(super) fn instead_of_schema(&self, reason: &str) -> Self {
        self.clone().after_leaving_out(vec![format!("its schema: {reason}")])
    }

    /// Begins to follow the grammar.
    pub(super) fn follow(&self) -> Follower {
        self.grammar.follow()
    }

    /// The memory that the grammar's automaton takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.grammar.bytes()
    }

    /// The parts of the schema that the grammar does not enforce.
    pub(super) fn not_enforced(&self) -> &[String] {
        &self.not_enforced
    }

    /// What was left out of the schema of this name; `None` if nothing was.
    pub(super) fn loosened(&self, name: &str) -> Option<String> {
        (!self.not_enforced.is_empty()).then(|| format!("{name}: {}", self.not_enforced.join(", ")))
    }

    /// Insists on the whole schema.
    ///
    /// # Errors
    /// Names the parts that are not enforced.
    pub(super) fn in_full(self) -> Result<Self, String> {
        if self.not_enforced.is_empty() { Ok(self) } else { Err(format!("cannot be enforced: {}", self.not_enforced.join("; "))) }
    }
}
