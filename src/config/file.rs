//! One configuration file, JSON or TOML: checked against the settings, with errors that name the line and suggest a key.

use std::io::ErrorKind;
use std::path::Path;

use figment::value::{Dict, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::personal::check_project;
use super::{ConfigError, Settings};
use crate::files::read_bounded_text;

/// The files that are read in a folder. If both exist, the later one wins.
pub const FILE_NAMES: [&str; 2] = [".anyclauderc.json", "anyclaude.toml"];

/// More than any file of settings has, in bytes. A project that was only cloned may have any file under its name.
const MOST: u64 = 1 << 20;

/// The values that a file sets. `None` if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Dict>, ConfigError> {
    Ok(read_text(path)?.map(|(_, values)| values))
}

/// The values that a project's file sets, which may not be all that there are. `None` if there is no such file.
pub(super) fn read_project(path: &Path) -> Result<Option<Dict>, ConfigError> {
    let Some((text, mut values)) = read_text(path)? else { return Ok(None) };
    check_project(path, &text, &values)?;
    let is_here = std::env::current_dir().is_ok_and(|folder| path.parent() == Some(&*folder));
    if let Some(Value::String(_, traces)) = values.get_mut("traces")
        && !is_here
    {
        // A project has one folder of recordings, which its git ignores, wherever in it one works.
        *traces = beside(path, traces);
    }
    Ok(Some(values))
}

/// The text of a file. `None` if there is no such file.
pub(super) fn text_of(path: &Path) -> Result<Option<String>, ConfigError> {
    match read_bounded_text(path, MOST) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
    }
}

/// The text of a file, and the values that it sets.
fn read_text(path: &Path) -> Result<Option<(String, Dict)>, ConfigError> {
    let Some(text) = text_of(path)? else { return Ok(None) };
    let mut values = parse(path, &text)?;
    if let Some(Value::Dict(_, recorder)) = values.get_mut("recorder")
        && let Some(Value::String(_, file)) = recorder.get_mut("ca_file")
    {
        *file = beside(path, file);
    }
    Ok(Some((text, values)))
}

/// What a file of settings means by the path of another file: one beside it, unless the path says where it begins.
fn beside(settings: &Path, file: &str) -> String {
    let begins = Path::new(file).is_absolute() || Path::new(file).starts_with("~");
    if begins { file.to_owned() } else { settings.with_file_name(file).to_string_lossy().into_owned() }
}

/// The values that the text of a file sets.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Dict, ConfigError> {
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    let parsed = if is_toml { checked(text, from_toml, from_toml) } else { checked(text, from_json, from_json) };
    parsed.map_err(|mistake| mistake.in_file(path))
}

/// Checks that a text is valid as this TOML file of settings.
pub(super) fn check_toml(path: &Path, text: &str) -> Result<(), ConfigError> {
    from_toml::<Settings>(text).map(drop).map_err(|mistake| mistake.in_file(path))
}

/// What is wrong with a file, and where. Lines and columns count from 1.
struct Mistake {
    line: usize,
    column: usize,
    reason: String,
}

impl Mistake {
    fn in_file(self, path: &Path) -> ConfigError {
        let Self { line, column, reason } = self;
        ConfigError::File { path: path.to_owned(), line, column, reason }
    }
}

/// Checks that the text is valid as settings, then reads only the values that it names.
fn checked(
    text: &str,
    check: impl Fn(&str) -> Result<Settings, Mistake>,
    parse: impl Fn(&str) -> Result<Dict, Mistake>,
) -> Result<Dict, Mistake> {
    check(text)?;
    let mut values = parse(text)?;
    values.remove("$schema");
    Ok(values)
}

fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, Mistake> {
    serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        let reason = said.rsplit_once(" at line ").map_or(said.as_str(), |(reason, _)| reason);
        Mistake { line: error.line(), column: error.column(), reason: explain(reason) }
    })
}

fn from_toml<T: DeserializeOwned>(text: &str) -> Result<T, Mistake> {
    toml::from_str(text).map_err(|error| {
        let before = &text[..error.span().map_or(0, |span| span.start).min(text.len())];
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Mistake { line: before.matches('\n').count() + 1, column, reason: explain(error.message()) }
    })
}

/// The fields of a struct that serializes only those that are set.
pub(super) fn values(set: &impl Serialize) -> Dict {
    // A struct of strings, numbers and lists always serializes, and to a map.
    Value::serialize(set).ok().and_then(Value::into_dict).unwrap_or_default()
}

/// Serde's reason; for an unknown key or value, the one that was probably meant.
pub(super) fn explain(reason: &str) -> String {
    let Some((found, known)) = unknown(reason) else { return reason.replace('\n', " ") };
    let nearest = known.iter().map(|name| (strsim::jaro_winkler(found, name), *name)).max_by(|a, b| a.0.total_cmp(&b.0));
    let kind = if reason.contains("field") { "key" } else { "value" };
    let found = found.replace('\n', "\\n");
    match nearest {
        Some((likeness, name)) if likeness > 0.7 => format!("unknown {kind} `{found}`; did you mean `{name}`?"),
        _ => format!("unknown {kind} `{found}`; there are {}", known.join(", ")),
    }
}

/// The unknown name and the known ones, from serde's "unknown field `x`, expected one of `a`, `b`" or figment's "unknown field:
/// found `x`, expected `one of `a`, `b``".
fn unknown(reason: &str) -> Option<(&str, Vec<&str>)> {
    let rest = reason.strip_prefix("unknown field").or_else(|| reason.strip_prefix("unknown variant"))?;
    let mut quoted = rest.split('`').skip(1);
    let found = quoted.next()?;
    let is_name = |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    Some((found, quoted.filter(is_name).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::assert_errors_name_the_file;

    #[test]
    fn damaged_files_are_errors_that_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let json = r#"{"mode": "openai", "port": 8081, "fallback": ["lmstudio"], "modes": {"openai": {"model": "m", "base_url": "http://127.0.0.1:1"}}}"#;
        let toml = "mode = \"openai\"\nport = 8081\nfallback = [\"lmstudio\"]\n\n[modes.openai]\nmodel = \"m\"\n\n[redact]\npatterns = ['ACME-[0-9]{4}']\n";
        for (name, text, refused) in [(FILE_NAMES[0], json, 150), (FILE_NAMES[1], toml, 100)] {
            let path = folder.path().join(name);
            assert_errors_name_the_file(&path, text.as_bytes(), refused, || read(&path));
        }
    }

    fn error(name: &str, text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        let error = read(&folder.path().join(name)).unwrap_err().to_string();
        error.rsplit_once('/').unwrap().1.to_owned()
    }

    #[test]
    fn an_error_names_the_line_and_the_nearest_key() {
        for (name, text, expected) in [
            (
                ".anyclauderc.json",
                "{\n  \"modle\": \"x\"\n}",
                ".anyclauderc.json:2:9: unknown key `modle`; did you mean `model`?",
            ),
            (
                ".anyclauderc.json",
                "{\"mode\": \"clade\"}",
                ".anyclauderc.json:1:16: unknown value `clade`; did you mean `claude`?",
            ),
            (".anyclauderc.json", "{\"port\": \"x\"}", ".anyclauderc.json:1:12: invalid type: string \"x\", expected u16"),
            (".anyclauderc.json", "{\"port\": 1", ".anyclauderc.json:1:10: EOF while parsing an object"),
            ("anyclaude.toml", "# ours\n\nmodle = 1\n", "anyclaude.toml:3:1: unknown key `modle`; did you mean `model`?"),
            ("anyclaude.toml", "port = 70000", "anyclaude.toml:1:8: invalid value: integer `70000`, expected u16"),
            ("anyclaude.toml", "record = 1", "anyclaude.toml:1:10: invalid type: integer `1`, expected a boolean"),
        ] {
            assert_eq!(error(name, text), expected);
        }
        let two_lines = error(".anyclauderc.json", "{\"a\\nb\": 1}");
        assert!(two_lines.starts_with(r".anyclauderc.json:1:7: unknown key `a\nb`; there are mode"), "{two_lines}");
        let far = error("anyclaude.toml", "zzzz = 1");
        assert!(far.starts_with("anyclaude.toml:1:1: unknown key `zzzz`; there are mode, model, base_url, port"), "{far}");
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let [device, large] = FILE_NAMES.map(|name| folder.path().join(name));
        std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
        std::fs::File::create(&large).unwrap().set_len(MOST + 1).unwrap();
        let refused = [&device, &large].map(|path| {
            let error = read(path).unwrap_err().to_string();
            error.replace(&folder.path().display().to_string(), "[folder]")
        });
        insta::assert_snapshot!(refused.join("\n"), @r"
        cannot read [folder]/.anyclauderc.json: not a regular file; move it away, or put a file of settings there
        cannot read [folder]/anyclaude.toml: larger than 1048576 bytes; move it away, or put a file of settings there
        ");
    }

    #[test]
    fn a_file_sets_only_what_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".anyclauderc.json");
        assert!(read(&path).unwrap().is_none());
        std::fs::write(&path, r#"{"$schema": "s.json", "port": 7}"#).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().into_keys().collect::<Vec<_>>(), ["port"]);
    }
}
