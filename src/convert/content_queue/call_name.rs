//! Putting together the name of a call. Some servers send it in pieces, others whole with every piece of the call.

/// The names of the offered tools, which tell the two apart.
#[derive(Debug, Default)]
pub(super) struct ToolNames(pub(super) Vec<String>);

impl ToolNames {
    /// Adds a piece to a name, unless it repeats the name. `arguments_wait`: no arguments have come yet; once they have, a name
    /// that is not the beginning of an offered tool's gets no more pieces.
    pub(super) fn add(&self, name: &mut String, piece: &str, arguments_wait: bool) {
        let longer = format!("{name}{piece}");
        let is_next = self.begins(&longer) || !self.is_known(name) && piece != name && arguments_wait;
        if name.is_empty() || is_next {
            *name = longer;
        }
    }

    /// Whether no more pieces of this name can come. `arguments_wait`: no arguments have come yet.
    pub(super) fn is_whole(&self, name: &str, arguments_wait: bool) -> bool {
        let may_go_on = self.0.iter().any(|tool| tool.len() > name.len() && tool.starts_with(name));
        match arguments_wait {
            true => self.is_known(name) && !may_go_on,
            false => self.is_known(name) || !may_go_on,
        }
    }

    fn is_known(&self, name: &str) -> bool {
        self.0.iter().any(|tool| tool == name)
    }

    fn begins(&self, start: &str) -> bool {
        self.0.iter().any(|tool| tool.starts_with(start))
    }
}
