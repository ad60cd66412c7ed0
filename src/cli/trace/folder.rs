//! The traces of a command that is given no paths.

use std::path::{Path, PathBuf};

use serde_json::Map;

use crate::cli::{CliError, say};
use crate::config;

/// The folder of traces in a project.
const HERE: &str = "traces";

/// These paths. If there are none: `traces` in this folder, or else, where there is no such folder, the one with the launcher's
/// recordings, which is said.
pub(super) fn or_default(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, CliError> {
    if !paths.is_empty() {
        return Ok(paths);
    }
    if Path::new(HERE).exists() {
        return Ok(vec![HERE.into()]);
    }
    let recordings = config::expand_home(&config::load(&Map::new())?.settings.traces);
    if !recordings.exists() {
        return Ok(vec![HERE.into()]);
    }
    say(format_args!("no {HERE}/ here: the traces in {}", recordings.display()));
    Ok(vec![recordings])
}
