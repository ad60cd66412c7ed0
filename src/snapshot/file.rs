//! The snapshot file: YAML front matter between `---` lines, then the outcome as JSON.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{ModelDigest, Outcome, Rule, SnapshotError};
use crate::files::{Access, folder_of, read_bounded_text, write_atomically};

/// More than any snapshot has, in bytes: an answer's calls, once for each accepted outcome.
pub(super) const MOST: u64 = 1 << 28;

const FENCE: &str = "---";

/// One `.snap` or `.snap.new` file.
///
/// ```
/// use anyclaude::snapshot::{Metadata, Outcome, Snapshot, ToolUse};
/// use serde_json::json;
///
/// let call = ToolUse { name: "Read".into(), input: json!({"file_path": "hello.txt"}) };
/// let outcome = Outcome { stop_reason: None, tool_use: vec![call] };
/// let metadata = Metadata { source: Some("by hand".into()), ..Metadata::default() };
/// let snapshot = Snapshot { metadata, outcome, alternatives: Vec::new() };
/// assert!(snapshot.to_text().starts_with("---\nsource: by hand\n---\n{\n"));
/// assert_eq!(Snapshot::parse(&snapshot.to_text())?, snapshot);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The front matter.
    pub metadata: Metadata,
    /// What the snapshot pins.
    pub outcome: Outcome,
    /// Other outcomes that are as good.
    pub alternatives: Vec<Outcome>,
}

/// The content of a file that accepts several outcomes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyOf {
    any_of: Vec<Outcome>,
}

/// The front matter, with insta's names in insta's order. It is for people: only outcomes are compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// The program that wrote the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The last user turn, as one short line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The settings that gave this outcome, for a reviewer. Accepted files do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// The model that answered, and its tool format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<Info>,
    /// The path of the trace that was replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_file: Option<String>,
}

/// The model that answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// The model's name.
    #[serde(default)]
    pub model: String,
    /// How the model writes tool calls, by the name of the format, such as `hermes`; `messages` if a server hides it.
    #[serde(default)]
    pub tool_format: String,
    /// Fingerprints of the model, if its files are here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<ModelDigest>,
    /// Tokens of the exchange's prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Under which rules outcomes are equal to the accepted one, besides those of the settings.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Whether the order of calls does not count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unordered_calls: bool,
}

impl Metadata {
    /// Without what only the reviewer of a pending snapshot needs.
    pub fn trimmed(self) -> Self {
        Self { expression: None, ..self }
    }
}

impl Snapshot {
    /// The whole file's text.
    pub fn to_text(&self) -> String {
        // Optional strings only: serializing them cannot fail.
        let front_matter = serde_yaml_ng::to_string(&self.metadata).unwrap_or_default();
        format!("{FENCE}\n{front_matter}{FENCE}\n{}\n", self.content())
    }

    /// What is after the front matter, without a newline at the end: the outcome, or a list of outcomes under `any_of`.
    pub fn content(&self) -> String {
        if self.alternatives.is_empty() {
            return self.outcome.to_text();
        }
        let outcomes: Vec<Outcome> = self.accepted().map(Outcome::sorted).collect();
        // Strings and JSON values only: serializing them cannot fail.
        serde_json::to_string_pretty(&serde_json::json!({ "any_of": outcomes })).unwrap_or_default()
    }

    /// All outcomes that the snapshot accepts.
    pub fn accepted(&self) -> impl Iterator<Item = &Outcome> {
        std::iter::once(&self.outcome).chain(&self.alternatives)
    }

    /// Parses a file's text. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_fence = |line: &str| line.trim_end() == FENCE;
        let mut lines = text.split_inclusive('\n');
        let first = lines.next().filter(|line| is_fence(line)).ok_or("a snapshot starts with a line of ---")?;
        let front_matter: String = lines.by_ref().take_while(|line| !is_fence(line)).collect();
        let content: String = lines.collect();
        if content.is_empty() {
            return Err(match front_matter.is_empty() && text.len() == first.len() {
                true => "the file ends after its first line".into(),
                false => "there is nothing after the front matter".into(),
            });
        }
        let metadata = serde_yaml_ng::from_str(&front_matter).map_err(|e| format!("the front matter is not YAML: {e}"))?;
        let not_json = |error: serde_json::Error| format!("the content is not a snapshot's JSON: {error}");
        let has_several = content.trim_start().strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with("\"any_of\""));
        let mut outcomes = match has_several {
            true => serde_json::from_str::<AnyOf>(&content).map_err(not_json)?.any_of.into_iter(),
            false => vec![serde_json::from_str(&content).map_err(not_json)?].into_iter(),
        };
        let outcome = outcomes.next().ok_or("`any_of` accepts nothing: it needs an outcome")?;
        Ok(Self { metadata, outcome, alternatives: outcomes.collect() })
    }

    /// Reads a file; `None` if there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, SnapshotError> {
        let text = match read_bounded_text(path, MOST) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SnapshotError::Io { path: path.into(), source }),
        };
        Self::parse(&text).map(Some).map_err(|reason| SnapshotError::Format { path: path.into(), reason })
    }

    /// Writes the file, and makes its folder. Readers see the old file or the new one, never a part of it.
    pub fn write(&self, path: &Path) -> Result<(), SnapshotError> {
        fs::create_dir_all(folder_of(path))
            .and_then(|()| write_atomically(path, self.to_text().as_bytes(), Access::Everyone))
            .map_err(|source| SnapshotError::Io { path: path.into(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::assert_errors_name_the_file;
    use crate::snapshot::ToolUse;
    use crate::wire::StopReason;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn example() -> Snapshot {
        Snapshot {
            metadata: Metadata {
                source: Some("anyclaude replay".into()),
                description: Some("Read hello.txt: what does it say?".into()),
                expression: None,
                info: Some(Info { model: "tiny".into(), tool_format: "hermes".into(), ..Info::default() }),
                input_file: Some("traces/demo/0001.json".into()),
            },
            outcome: Outcome {
                stop_reason: Some(StopReason::ToolUse),
                tool_use: vec![ToolUse { name: "Read".into(), input: json!({"file_path": "hello.txt"}) }],
            },
            alternatives: Vec::new(),
        }
    }

    #[test]
    fn damaged_snapshots_are_errors_that_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("read-file__0001.snap");
        assert_errors_name_the_file(&path, example().to_text().as_bytes(), 100, || Snapshot::read(&path));
    }

    #[test]
    fn the_file_is_front_matter_then_json() {
        insta::assert_snapshot!(example().to_text(), @r#"
        ---
        source: anyclaude replay
        description: 'Read hello.txt: what does it say?'
        info:
          model: tiny
          tool_format: hermes
        input_file: traces/demo/0001.json
        ---
        {
          "stop_reason": "tool_use",
          "tool_use": [
            {
              "name": "Read",
              "input": {
                "file_path": "hello.txt"
              }
            }
          ]
        }
        "#);
    }

    /// insta's own reader finds the outcome in our file. Otherwise the assertion inside would fail or, if insta is told to
    /// update, the file would be rewritten.
    #[test]
    fn insta_itself_reads_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo__0001.snap");
        example().write(&path).unwrap();
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(folder.path());
        settings.set_prepend_module_to_snapshot(false);
        settings.bind(|| insta::assert_snapshot!("demo__0001", example().outcome.to_text()));
        assert_eq!(fs::read_to_string(&path).unwrap(), example().to_text());
    }

    #[test]
    fn a_file_that_is_not_a_snapshot_says_why() {
        let texts = [
            "",
            "{}",
            "---\n",
            "---\nsource: x\n",
            "---\nsource: [\n---\n{}\n",
            "---\nsource: x\n---\n{\n",
            "---\nsource: x\n---\n{\"stop_reason\": null}\n",
            "---\nsource: x\n---\n{\"any_of\": []}\n",
            "---\ninfo:\n  match:\n  - path: $.a\n    as: glob\n---\n{}\n",
        ];
        insta::assert_snapshot!(texts.map(|text| format!("{text:?}: {}", Snapshot::parse(text).unwrap_err())).join("\n"), @r#"
        "": a snapshot starts with a line of ---
        "{}": a snapshot starts with a line of ---
        "---\n": the file ends after its first line
        "---\nsource: x\n": there is nothing after the front matter
        "---\nsource: [\n---\n{}\n": the front matter is not YAML: source: invalid type: sequence, expected a string at line 1 column 9
        "---\nsource: x\n---\n{\n": the content is not a snapshot's JSON: EOF while parsing an object at line 2 column 0
        "---\nsource: x\n---\n{\"stop_reason\": null}\n": the content is not a snapshot's JSON: missing field `tool_use` at line 1 column 21
        "---\nsource: x\n---\n{\"any_of\": []}\n": `any_of` accepts nothing: it needs an outcome
        "---\ninfo:\n  match:\n  - path: $.a\n    as: glob\n---\n{}\n": the front matter is not YAML: info.match: `as = "regex"` and `as = "glob"` need a `pattern` at line 3 column 3
        "#);
    }

    #[test]
    fn several_answers_and_rules_are_read_and_written() {
        let mut snapshot = example();
        let other = ToolUse { name: "Glob".into(), input: json!({"pattern": "*"}) };
        snapshot.alternatives.push(Outcome { tool_use: vec![other], ..snapshot.outcome.clone() });
        let info = snapshot.metadata.info.as_mut().unwrap();
        info.rules = serde_json::from_value(json!([{"tool": "Read", "path": "$.file_path", "as": "path"}])).unwrap();
        info.unordered_calls = true;
        insta::assert_snapshot!(snapshot.to_text(), @r#"
        ---
        source: anyclaude replay
        description: 'Read hello.txt: what does it say?'
        info:
          model: tiny
          tool_format: hermes
          match:
          - tool: Read
            path: $.file_path
            as: path
          unordered_calls: true
        input_file: traces/demo/0001.json
        ---
        {
          "any_of": [
            {
              "stop_reason": "tool_use",
              "tool_use": [
                {
                  "name": "Read",
                  "input": {
                    "file_path": "hello.txt"
                  }
                }
              ]
            },
            {
              "stop_reason": "tool_use",
              "tool_use": [
                {
                  "name": "Glob",
                  "input": {
                    "pattern": "*"
                  }
                }
              ]
            }
          ]
        }
        "#);
        assert_eq!(Snapshot::parse(&snapshot.to_text()), Ok(snapshot));
    }

    #[test]
    fn a_file_with_windows_line_ends_and_unknown_front_matter_is_read() {
        let text = example().to_text().replace("source:", "assertion_line: 7\nsource:").replace('\n', "\r\n");
        assert_eq!(Snapshot::parse(&text), Ok(example()));
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn snapshot() -> impl Strategy<Value = Snapshot> {
        let text = || prop::option::of(any::<String>());
        let metadata = (text(), text(), text(), text(), any::<(String, String)>());
        let calls = || prop::collection::vec((any::<String>(), json_value()), 0..4);
        let outcome = || {
            calls().prop_map(|calls| Outcome {
                stop_reason: Some(StopReason::EndTurn),
                tool_use: calls.into_iter().map(|(name, input)| ToolUse { name, input }).collect(),
            })
        };
        let alternatives = prop::collection::vec(outcome(), 0..3);
        (metadata, outcome(), alternatives).prop_map(|(metadata, outcome, alternatives)| {
            let (source, description, expression, input_file, (model, tool_format)) = metadata;
            let info = Some(Info { model, tool_format, ..Info::default() });
            Snapshot { metadata: Metadata { source, description, expression, info, input_file }, outcome, alternatives }
        })
    }

    proptest! {
        #[test]
        fn a_written_snapshot_reads_back_the_same(snapshot in snapshot()) {
            prop_assert_eq!(Snapshot::parse(&snapshot.to_text()), Ok(snapshot));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>(), rest in any::<String>()) {
            let _ = Snapshot::parse(&format!("---\n{text}\n---\n{rest}"));
        }
    }
}
