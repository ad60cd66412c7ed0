//! An environment of its own for what a test starts: an empty home, an empty project to work in, and of this machine nothing
//! but PATH.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use regex::Regex;
use tempfile::TempDir;

use super::process::{Ran, run};

/// An empty home folder and an empty project folder. Both go with it.
pub(crate) struct Sandbox {
    home: TempDir,
    project: TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), project: tempfile::tempdir().unwrap() }
    }

    /// Another sandbox with the same project.
    pub(crate) fn copy_of(other: &Self) -> Self {
        let copy = Self::new();
        for entry in walkdir::WalkDir::new(other.project.path()) {
            let entry = entry.unwrap();
            let relative = entry.path().strip_prefix(other.project.path()).unwrap();
            if entry.file_type().is_file() {
                copy.write(relative.to_str().unwrap(), fs::read(entry.path()).unwrap());
            }
        }
        copy
    }

    /// The built binary, to be started in the project.
    pub(crate) fn anyclaude(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_anyclaude"));
        command.args(arguments);
        command
    }

    /// Any program, to be started in the project. It reads an empty input and prints no colours.
    pub(crate) fn program(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.project.path()).stdin(Stdio::null()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.home.path()).env("NO_COLOR", "1");
        command
    }

    /// What the binary comes to.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(&mut self.anyclaude(arguments))
    }

    /// A path of the project.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.project.path().canonicalize().unwrap().join(relative)
    }

    /// A path of the home folder.
    pub(crate) fn home(&self, relative: &str) -> PathBuf {
        self.home.path().join(relative)
    }

    /// Writes a file of the project, its folder too.
    pub(crate) fn write(&self, relative: &str, content: impl AsRef<[u8]>) {
        write(&self.path(relative), content.as_ref());
    }

    /// Writes a file of the home folder, its folder too.
    pub(crate) fn write_home(&self, relative: &str, content: impl AsRef<[u8]>) {
        write(&self.home(relative), content.as_ref());
    }

    /// The text of a file of the project.
    #[track_caller]
    pub(crate) fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
    }

    /// The names in a folder of the project, sorted; none where there is no folder.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A text for people as it is on every machine and in every run: without this one's folders, ports and times.
    pub(crate) fn portable(&self, text: &str) -> String {
        let folders = [
            (self.path(""), "[project]"),
            (self.home.path().canonicalize().unwrap(), "[home]"),
            (repository(""), "[repository]"),
        ];
        let text = folders
            .iter()
            .fold(text.to_owned(), |text, (folder, name)| text.replace(folder.to_str().unwrap().trim_end_matches('/'), name));
        portable(&text)
    }
}

/// A text without ports, times, dates and this system's numbers of errors.
pub(crate) fn portable(text: &str) -> String {
    const VARYING: [(&str, &str); 4] = [
        (r"127\.0\.0\.1:\d{4,5}\b", "127.0.0.1:[port]"),
        (r" *\b\d+(\.\d+)? (s|ms|µs)\b", " [time]"),
        (r"\b20\d{6}-\d{6}\b", "[session]"),
        (r"os error \d+", "os error [number]"),
    ];
    static PATTERNS: LazyLock<[(Regex, &str); 4]> =
        LazyLock::new(|| VARYING.map(|(pattern, name)| (Regex::new(pattern).unwrap(), name)));
    PATTERNS.iter().fold(text.to_owned(), |text, (pattern, name)| pattern.replace_all(&text, *name).into_owned())
}

/// A path of this repository.
pub(crate) fn repository(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}
