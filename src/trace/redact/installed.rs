//! The redactor of the whole process, with the user's own patterns: for texts that are shown where no redactor is at hand, such as
//! the text of an error.

use std::sync::OnceLock;

use super::Redactor;

static INSTALLED: OnceLock<Redactor> = OnceLock::new();

impl Redactor {
    /// Makes this the redactor of the whole process. Only the first one that is installed counts.
    pub fn install(self) {
        INSTALLED.get_or_init(|| self);
    }

    /// The redactor of the whole process; one without patterns of the user's where none is installed.
    pub fn installed() -> Self {
        INSTALLED.get().cloned().unwrap_or_default()
    }
}
