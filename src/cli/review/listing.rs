//! Pending snapshots by their names: listing them, and finding those that were named.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::CliError;
use super::reading::Pending;
use crate::replay::Finding;
use crate::review::change;
use crate::snapshot::pending_name;
use crate::trace::path_text;

/// A pending snapshot in `--list --json`.
#[derive(Serialize)]
struct Listed<'a> {
    id: String,
    #[serde(serialize_with = "path_text::path")]
    file: &'a Path,
    /// What changed; the same for snapshots that changed in the same way.
    change: String,
    findings: &'a [Finding],
    /// Why the file cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A line, or an item of a JSON list, for each pending snapshot.
pub(super) fn listed(pending: &[Pending], as_json: bool) -> Result<String, CliError> {
    if as_json {
        let json = serde_json::to_string_pretty(&pending.iter().map(item).collect::<Vec<_>>()).map_err(CliError::backend)?;
        return Ok(json + "\n");
    }
    let width = pending.iter().map(|one| pending_name(&one.path).len()).max().unwrap_or_default();
    let line = |one: &Pending| {
        let words = match &one.read {
            Ok(readable) => change(&readable.outcome).line,
            Err(error) => format!("unreadable: {error}"),
        };
        format!("{:width$}  {words}\n", pending_name(&one.path))
    };
    Ok(pending.iter().map(line).collect())
}

fn item(pending: &Pending) -> Listed<'_> {
    let (id, file) = (pending_name(&pending.path), pending.path.as_path());
    match &pending.read {
        Ok(readable) => {
            Listed { id, file, change: change(&readable.outcome).whole, findings: &readable.outcome.findings, error: None }
        }
        Err(error) => Listed { id, file, change: "unreadable".into(), findings: &[], error: Some(error.to_string()) },
    }
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
