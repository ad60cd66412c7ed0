//! Adding match rules to the project's file of settings.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::file::{check_toml, text_of};
use super::layers::project_folder;
use super::{ConfigError, FILE_NAMES};
use crate::files::{Access, write_atomically};
use crate::snapshot::RuleText;

#[derive(Serialize)]
struct Added<'a> {
    replay: ReplayPart<'a>,
}

#[derive(Serialize)]
struct ReplayPart<'a> {
    #[serde(rename = "match")]
    rules: &'a [RuleText],
}

/// The rules as a part of `anyclaude.toml`.
pub fn rules_as_toml(rules: &[RuleText]) -> String {
    // Strings and lists: serializing them cannot fail.
    toml::to_string(&Added { replay: ReplayPart { rules } }).unwrap_or_default()
}

/// Adds the rules at the end of the project's `anyclaude.toml`, which need not exist yet. Returns its path. What the file has stays
/// as it is, comments too.
///
/// # Errors
/// The file cannot be read or written, or has its rules in a form that nothing can be added to.
pub fn add_rules(rules: &[RuleText]) -> Result<PathBuf, ConfigError> {
    let path = project_folder().join(FILE_NAMES[1]);
    add_to(&path, rules)?;
    Ok(path)
}

fn add_to(path: &Path, rules: &[RuleText]) -> Result<(), ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut text = text_of(path)?.unwrap_or_default();
    if !text.is_empty() {
        text = format!("{}\n\n", text.trim_end());
    }
    text += &rules_as_toml(rules);
    check_toml(path, &text)?;
    write_atomically(path, text.as_bytes(), Access::Everyone).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::WayName;

    fn rule(path: &str) -> RuleText {
        RuleText { tool: Some("Bash".into()), path: path.into(), way: WayName::Words, pattern: None, schema: None }
    }

    #[test]
    fn rules_are_added_behind_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anyclaude.toml");
        add_to(&path, &[rule("$.command")]).unwrap();
        insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap(), @r#"
        [[replay.match]]
        tool = "Bash"
        path = "$.command"
        as = "words"
        "#);
        std::fs::write(&path, "# ours\n[replay]\nretries = 1\n").unwrap();
        add_to(&path, &[rule("$.command")]).unwrap();
        add_to(&path, &[rule("$.other")]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# ours\n[replay]\nretries = 1\n") && text.matches("[[replay.match]]").count() == 2, "{text}");
    }

    #[test]
    fn a_list_that_is_written_in_line_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anyclaude.toml");
        let text = "[replay]\nmatch = [{path = '$.a', as = 'ignore'}]\n";
        std::fs::write(&path, text).unwrap();
        assert!(add_to(&path, &[rule("$.command")]).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
