//! Pending snapshots by their names: listing them, and finding those that were named.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::CliError;
use crate::replay::Finding;
use crate::review::{PendingOutcome, change};
use crate::snapshot::{Matching, pending_name};

/// A pending snapshot in `--list --json`.
#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    file: &'a Path,
    /// What changed, in a line; the same for snapshots that changed in the same way.
    change: String,
    findings: &'a [Finding],
}

/// A line, or an item of a JSON list, for each pending snapshot.
pub(super) fn listed(pending: &[PathBuf], matching: &Matching, as_json: bool) -> Result<String, CliError> {
    let pending = pending.iter().map(|path| PendingOutcome::read(path, matching)).collect::<Result<Vec<_>, _>>()?;
    if as_json {
        let listed = pending.iter().map(|pending| Listed {
            id: &pending.id,
            file: &pending.path,
            change: change(pending),
            findings: &pending.findings,
        });
        let json = serde_json::to_string_pretty(&listed.collect::<Vec<_>>()).map_err(CliError::backend)?;
        return Ok(json + "\n");
    }
    let width = pending.iter().map(|pending| pending.id.len()).max().unwrap_or_default();
    Ok(pending.iter().map(|pending| format!("{:width$}  {}\n", pending.id, change(pending))).collect())
}

/// The pending snapshots of the named exchanges and sessions; all, if none is named.
pub(super) fn named(pending: &[PathBuf], ids: &[String]) -> Result<Vec<PathBuf>, CliError> {
    if ids.is_empty() {
        return Ok(pending.to_vec());
    }
    let mut found: Vec<PathBuf> = Vec::new();
    for id in ids {
        let is_named = |path: &&PathBuf| {
            let name = pending_name(path);
            name == *id || name.split_once('/').is_some_and(|(session, _)| session == id)
        };
        let before = found.len();
        found.extend(pending.iter().filter(is_named).cloned());
        if found.len() == before {
            return Err(CliError::input(format!(
                "{id}: nothing of this name is pending; `anyclaude review --list` has the names"
            )));
        }
    }
    Ok(found)
}

/// The pending snapshot of the named exchange.
pub(super) fn one_of(pending: &[PathBuf], id: &str) -> Result<PathBuf, CliError> {
    match &named(pending, &[id.to_owned()])?[..] {
        [path] => Ok(path.clone()),
        several => Err(CliError::input(format!("{id}: {} exchanges of this session are pending; name one", several.len()))),
    }
}
