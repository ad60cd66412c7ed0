//! What a replay found out, on one backend or on several, in each form in which it is written.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::report::html::{several_to_html, to_html};
use crate::report::job_summary::{several_to_markdown, to_markdown};
use crate::report::junit::{several_to_junit, to_junit};
use crate::report::{Backends, Problem, Report, backends, problems};

/// What a replay found out.
#[derive(Clone, Copy)]
pub(super) enum Figures<'a> {
    /// On one backend.
    One(&'a Report<'a>),
    /// On several, side by side.
    Several(&'a Backends<'a>),
}

impl<'a> Figures<'a> {
    pub(super) fn to_json(self) -> String {
        match self {
            Self::One(report) => report.to_json(),
            Self::Several(backends) => backends.to_json(),
        }
    }

    pub(super) fn to_html(self) -> String {
        let now = OffsetDateTime::now_utc();
        match self {
            Self::One(report) => to_html(report, now),
            Self::Several(backends) => several_to_html(backends, now),
        }
    }

    pub(super) fn to_junit(self) -> Result<String, String> {
        let xml = match self {
            Self::One(report) => to_junit(report),
            Self::Several(backends) => several_to_junit(backends),
        };
        xml.map_err(|error| error.to_string())
    }

    /// For GitHub, in at most this many bytes.
    pub(super) fn to_markdown(self, most: usize) -> String {
        match self {
            Self::One(report) => to_markdown(report, most),
            Self::Several(backends) => several_to_markdown(backends, most),
        }
    }

    pub(super) fn problems(self) -> Vec<Problem> {
        match self {
            Self::One(report) => problems(report),
            Self::Several(several) => backends::problems_of_all(several),
        }
    }

    /// The reports, each with the folder for its files.
    pub(super) fn reports(self, folder: &Path) -> Vec<(PathBuf, &'a Report<'a>)> {
        match self {
            Self::One(report) => vec![(folder.to_owned(), report)],
            // A colon is no part of a file's name everywhere.
            Self::Several(several) => {
                let folder_of = |name: &str| folder.join(name.replace(':', "-"));
                several.backends.iter().map(|backend| (folder_of(&backend.name), &backend.report)).collect()
            }
        }
    }
}
