//! Names of sessions in a file that has those of several folders.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Gives each session a name of its own: recordings in two folders are two, whatever their sessions are called.
#[derive(Default)]
pub(super) struct SessionNames {
    /// By the folder and the session's name in it.
    given: HashMap<(PathBuf, String), String>,
    taken: HashSet<String>,
}

impl SessionNames {
    /// The name of the session of this trace's file: its own, with a number behind it if one of another folder has it.
    pub(super) fn of(&mut self, file: &Path, session: &str) -> &str {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let Self { given, taken } = self;
        given.entry((folder, session.to_owned())).or_insert_with(|| {
            let numbered = (2..).map(|number: usize| format!("{session}-{number}"));
            let free = std::iter::once(session.to_owned()).chain(numbered).find(|name| !taken.contains(name));
            // There are more numbers than names that are taken.
            let name = free.unwrap_or_default();
            taken.insert(name.clone());
            name
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_one_name_in_two_folders_have_two_names() {
        let mut names = SessionNames::default();
        let files = [("a/s/0001.json", "s"), ("b/s/0001.json", "s"), ("a/s/0002.json", "s"), ("b/s-2/0001.json", "s-2")];
        let given = files.map(|(file, session)| names.of(Path::new(file), session).to_owned());
        assert_eq!(given, ["s", "s-2", "s", "s-2-2"]);
    }
}
