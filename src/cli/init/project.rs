//! The files of a project that replays traces in CI.

use std::io;
use std::path::{Component, Path, PathBuf};

use path_clean::PathClean;

use crate::config::{self, ConfigError, Mode};
use crate::files::{read_bounded_text, write_as_named};

/// More than any file that is written or added to here has, in bytes.
const MOST: u64 = 1 << 20;

/// What the project is to get.
pub(super) struct Project {
    /// Its folder, which exists.
    pub folder: PathBuf,
    /// What answers Claude Code.
    pub mode: Mode,
    pub model: Option<String>,
    pub ci: Vec<Ci>,
}

/// A CI system.
pub(super) enum Ci {
    /// With the repository and reference of anyclaude's action.
    GitHub(String),
    GitLab,
}

/// What became of a file.
pub(super) struct Done {
    /// Its path in the project.
    pub file: String,
    pub what: What,
}

/// What can become of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Wrote,
    AddedTo,
    /// It is there, and is not what would be written.
    Kept,
    /// It is there as it would be written.
    Same,
}

impl What {
    /// In words.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Wrote => "wrote",
            Self::AddedTo => "added to",
            Self::Kept | Self::Same => "kept",
        }
    }
}

/// Why a project cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProjectError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: no such folder", path.display())]
    NoFolder { path: PathBuf },
    #[error("{}: a symbolic link; put {} in its place, and run this again", path.display(), .instead)]
    Linked { path: PathBuf, instead: &'static str },
    #[error(transparent)]
    Settings(#[from] ConfigError),
}

impl Project {
    /// Writes the files that are missing. Returns what became of each.
    pub(super) fn prepare(&self) -> Result<Vec<Done>, ProjectError> {
        if !self.folder.is_dir() {
            return Err(ProjectError::NoFolder { path: self.folder.clone() });
        }
        let settings = self.write("anyclaude.toml", &self.settings())?;
        let mut done = vec![self.ignore()?, settings, self.write("ci/traces/README.md", include_str!("traces.md"))?];
        for ci in &self.ci {
            done.push(match ci {
                Ci::GitHub(action) => self.write(".github/workflows/anyclaude.yml", &workflow(action))?,
                Ci::GitLab => self.write(".gitlab-ci.yml", include_str!("gitlab.yml"))?,
            });
        }
        Ok(done)
    }

    fn settings(&self) -> String {
        let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
        let model = match &self.model {
            Some(model) => format!("model = {}", text(model)),
            None => "# model = \"mlx-community/Qwen3-4B-4bit\"".to_owned(),
        };
        include_str!("settings.toml").replace("{mode}", &text(self.mode.name())).replace("{model}", &model)
    }

    /// Adds the lines that .gitignore lacks.
    fn ignore(&self) -> Result<Done, ProjectError> {
        let path = self.folder.join(".gitignore");
        if path.is_symlink() {
            // Git does not follow it, and it may lead out of the project.
            return Err(ProjectError::Linked { path, instead: "a file" });
        }
        let old = match read_bounded_text(&path, MOST) {
            Ok(old) => Some(old),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(ProjectError::Io { path, error }),
        };
        let mut text = old.clone().unwrap_or_default();
        let is_there = |line: &String| text.lines().any(|old| old.trim().trim_matches('/') == line.trim_matches('/'));
        let missing: Vec<_> = self.ignored()?.into_iter().filter(|line| !is_there(line)).collect();
        if missing.is_empty() {
            return Ok(Done { file: ".gitignore".into(), what: What::Same });
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        missing.iter().for_each(|line| text.extend([line, "\n"]));
        self.put(&path, &text)?;
        Ok(Done { file: ".gitignore".into(), what: if old.is_some() { What::AddedTo } else { What::Wrote } })
    }

    /// What git must not see: recordings with private text, where the commands and the settings put them, and snapshots that
    /// nobody has reviewed.
    fn ignored(&self) -> Result<Vec<String>, ProjectError> {
        let traces = config::expand_home(&config::load_folder(&self.folder)?.traces).clean();
        let absolute = self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone());
        let inside = if traces.is_absolute() { traces.strip_prefix(&absolute).ok() } else { Some(&*traces) };
        let inside = inside.filter(|path| path.components().all(|part| matches!(part, Component::Normal(_))));
        let named = inside.map(|path| format!("/{}/", path.display())).filter(|line| line != "/traces/");
        Ok(["/traces/".to_owned(), "*.snap.new".to_owned()].into_iter().chain(named).collect())
    }

    /// Writes a file, unless it is there.
    fn write(&self, file: &str, text: &str) -> Result<Done, ProjectError> {
        let path = self.folder.join(file);
        let what = if path.exists() || path.is_symlink() {
            let is_same = read_bounded_text(&path, MOST).is_ok_and(|there| there == text);
            if is_same { What::Same } else { What::Kept }
        } else {
            self.put(&path, text)?;
            What::Wrote
        };
        Ok(Done { file: file.into(), what })
    }

    /// Writes a file of the project, and the folders that it is in. They must not be links, which may lead out of the project.
    fn put(&self, path: &Path, text: &str) -> Result<(), ProjectError> {
        let mut folders = path.ancestors().skip(1).take_while(|folder| *folder != self.folder);
        if let Some(link) = folders.find(|folder| folder.is_symlink()) {
            return Err(ProjectError::Linked { path: link.into(), instead: "a folder" });
        }
        write_as_named(path, text).map_err(|error| ProjectError::Io { path: path.into(), error })
    }
}

fn workflow(action: &str) -> String {
    let (repository, reference) = action.split_once('@').unwrap_or((action, "main"));
    include_str!("github.yml").replace("{action}", &format!("{repository}/.github/actions/replay@{reference}"))
}
