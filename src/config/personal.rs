//! The settings that only a person decides about: in the home folder's files, in the environment and by flags.
//!
//! A project's file comes with the project, and who has only cloned it may not know what it says.

use std::path::Path;

use figment::value::{Dict, Value};
use regex::Regex;

use super::ConfigError;

/// A setting, under the names that lead to it (`*` is any name), and what it decides.
struct Personal {
    names: &'static [&'static str],
    decides: &'static str,
    /// The flag that sets it instead.
    flag: Option<&'static str>,
}

const WHERE_KEYS_GO: &str = "where requests and their keys are sent";
const WHAT_IS_DELETED: &str = "which recordings are deleted";

const PERSONAL: [Personal; 9] = [
    Personal { names: &["base_url"], decides: WHERE_KEYS_GO, flag: Some("--base-url") },
    Personal { names: &["modes", "*", "base_url"], decides: WHERE_KEYS_GO, flag: None },
    Personal { names: &["recorder", "upstream"], decides: WHERE_KEYS_GO, flag: Some("--upstream") },
    Personal { names: &["recorder", "ca_file"], decides: "which servers are trusted with keys", flag: Some("--ca-file") },
    Personal { names: &["recorder", "keep_days"], decides: WHAT_IS_DELETED, flag: Some("--keep-days") },
    Personal { names: &["recorder", "keep_bytes"], decides: WHAT_IS_DELETED, flag: Some("--keep-bytes") },
    Personal { names: &["keep_sessions"], decides: WHAT_IS_DELETED, flag: None },
    Personal { names: &["cache_dir"], decides: "where files are written that hold what prompts say", flag: None },
    Personal { names: &["client"], decides: "which program is run", flag: Some("--client") },
];

/// Refuses the values of a project's file that only a person decides about. `text`: the file.
pub(super) fn check_project(path: &Path, text: &str, values: &Dict) -> Result<(), ConfigError> {
    let Some(Personal { names, decides, flag }) = PERSONAL.iter().find(|setting| is_set(values, setting.names)) else {
        return Ok(());
    };
    let key = names[names.len() - 1];
    let (line, column) = place(text, key);
    let home = path.file_name().unwrap_or_default().display();
    let or_flag = flag.map(|flag| format!(", or use {flag}")).unwrap_or_default();
    let reason =
        format!("`{key}` decides {decides}, so a project's file may not set it; put it into {home} in your home folder{or_flag}");
    Err(ConfigError::File { path: path.to_owned(), line, column, reason })
}

/// Whether one of the names leads to a value.
fn is_set(values: &Dict, names: &[&str]) -> bool {
    let Some((name, rest)) = names.split_first() else { return false };
    let leads = |value: &Value| rest.is_empty() || value.as_dict().is_some_and(|values| is_set(values, rest));
    match *name {
        "*" => values.values().any(leads),
        name => values.get(name).is_some_and(leads),
    }
}

/// The line and the column of a key, from 1: where it first stands before a `=` or a `:`. The first ones if it stands nowhere,
/// as where JSON spells it with escapes.
fn place(text: &str, key: &str) -> (usize, usize) {
    // The keys are letters and underscores.
    let Ok(key) = Regex::new(&format!(r#"(?m)^[^#\n]*?\b({key})\b["']?\s*[=:]"#)) else { return (1, 1) };
    let Some(start) = key.captures(text).and_then(|found| Some(found.get(1)?.start())) else { return (1, 1) };
    let before = &text[..start];
    (before.matches('\n').count() + 1, before.chars().rev().take_while(|c| *c != '\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::super::file::{FILE_NAMES, parse};
    use super::*;

    fn refusal(name: &str, text: &str) -> Option<String> {
        let path = Path::new(name);
        check_project(path, text, &parse(path, text).unwrap()).err().map(|error| error.to_string())
    }

    #[test]
    fn a_project_does_not_decide_where_keys_go_what_is_written_or_deleted_or_what_is_run() {
        let mut refused = String::new();
        for (json, text) in [
            (false, "mode = 'openai'\n# base_url = 1\nbase_url = 'http://evil'\n"),
            (true, "{\"base_url\":\n  \"http://evil\"}"),
            (false, "[modes.openai]\nmodel = 'm'\nbase_url = 'http://evil'\n"),
            (false, "modes.openai = { base_url = 'http://evil' }\n"),
            (false, "[recorder]\nupstream = ['http://evil']\n"),
            (true, "{\"recorder\": {\n  \"ca_file\": \"evil.pem\"}}"),
            (false, "recorder.keep_days = 1\n"),
            (false, "[recorder]\n\"keep_bytes\" = '1MB'\n"),
            (false, "keep_sessions = 1\n"),
            (false, "cache_dir = '/home/me/notes'\n"),
            (true, "{\"\\u0063lient\": \"./evil\"}"),
        ] {
            refused += &refusal(FILE_NAMES[usize::from(!json)], text).unwrap_or_else(|| panic!("{text} is taken"));
            refused.push('\n');
        }
        insta::assert_snapshot!(refused, @r"
        anyclaude.toml:3:1: `base_url` decides where requests and their keys are sent, so a project's file may not set it; put it into anyclaude.toml in your home folder, or use --base-url
        .anyclauderc.json:1:3: `base_url` decides where requests and their keys are sent, so a project's file may not set it; put it into .anyclauderc.json in your home folder, or use --base-url
        anyclaude.toml:3:1: `base_url` decides where requests and their keys are sent, so a project's file may not set it; put it into anyclaude.toml in your home folder
        anyclaude.toml:1:18: `base_url` decides where requests and their keys are sent, so a project's file may not set it; put it into anyclaude.toml in your home folder
        anyclaude.toml:2:1: `upstream` decides where requests and their keys are sent, so a project's file may not set it; put it into anyclaude.toml in your home folder, or use --upstream
        .anyclauderc.json:2:4: `ca_file` decides which servers are trusted with keys, so a project's file may not set it; put it into .anyclauderc.json in your home folder, or use --ca-file
        anyclaude.toml:1:10: `keep_days` decides which recordings are deleted, so a project's file may not set it; put it into anyclaude.toml in your home folder, or use --keep-days
        anyclaude.toml:2:2: `keep_bytes` decides which recordings are deleted, so a project's file may not set it; put it into anyclaude.toml in your home folder, or use --keep-bytes
        anyclaude.toml:1:1: `keep_sessions` decides which recordings are deleted, so a project's file may not set it; put it into anyclaude.toml in your home folder
        anyclaude.toml:1:1: `cache_dir` decides where files are written that hold what prompts say, so a project's file may not set it; put it into anyclaude.toml in your home folder
        .anyclauderc.json:1:1: `client` decides which program is run, so a project's file may not set it; put it into .anyclauderc.json in your home folder, or use --client
        ");
    }

    #[test]
    fn a_project_may_set_the_rest() {
        let rest = "mode = 'openai'\nrecord = true\ntraces = 'traces'\n\n[modes.openai]\nmodel = 'base_url = 1'\n\n\
            [recorder.prices.base_url]\ninput = 1\noutput = 1\n";
        assert_eq!(refusal(FILE_NAMES[1], rest), None);
    }
}
