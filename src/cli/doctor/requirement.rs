//! What anyclaude needs, and how doctor shows it.

use console::style;

/// One line of the result: a thing that anyclaude needs, and whether it is there.
pub(super) struct Requirement {
    /// What it is about, in one word.
    pub thing: &'static str,
    /// Whether it is there.
    pub presence: Presence,
}

/// Whether something is there.
pub(super) enum Presence {
    /// It is; the text describes it.
    Found(String),
    /// It is not, and some commands do not work.
    Lacking { reason: String, remedy: String },
    /// It is not, and nothing works.
    Missing { reason: String, remedy: String },
}

impl Requirement {
    /// Whether nothing works for lack of it.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.presence, Presence::Missing { .. })
    }

    /// The requirement as text. A remedy has a line of its own.
    pub(super) fn line(&self) -> String {
        let Self { thing, presence } = self;
        let (word, detail, remedy) = match presence {
            Presence::Found(detail) => (style("ok     ").green(), detail, None),
            Presence::Lacking { reason, remedy } => (style("lacking").yellow(), reason, Some(remedy)),
            Presence::Missing { reason, remedy } => (style("missing").red(), reason, Some(remedy)),
        };
        let mut line = format!("{word}  {thing:<9}  {detail}\n");
        if let Some(remedy) = remedy {
            line.push_str(&format!("{:<20}{remedy}\n", ""));
        }
        line
    }
}
