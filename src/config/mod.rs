//! What the launcher is told: which settings there are, and what each one is worth by default.
//!
//! `layers` finds the values (flag, environment, project, home, default) and remembers where each came from; `file` reads one
//! configuration file with errors that name the line. What the settings do is `cli`'s.

mod file;
mod layers;

use std::path::PathBuf;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

pub use file::FILE_NAMES;
pub use layers::{Loaded, load};

/// Everything that can be configured, under the names that the files use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The schema that an editor checks this file with. It changes nothing.
    #[serde(rename = "$schema", skip_serializing)]
    pub schema: Option<String>,
    /// What answers the client.
    pub mode: Mode,
    /// With mode mlx: the model's folder. With other modes: the model to ask for whatever the client asks for.
    pub model: Option<String>,
    /// The base URL of the server that answers, for the modes that go to one.
    pub base_url: Option<String>,
    /// The port on 127.0.0.1 that the client is pointed at; 0 picks a free one.
    pub port: u16,
    /// The client to run: a name on PATH, or a path.
    pub client: String,
    /// Record every run.
    pub record: bool,
    /// The folder for recordings; each mode has a folder of its own in it.
    pub traces: PathBuf,
    /// How many recordings each mode keeps; the oldest go first.
    pub keep_sessions: usize,
    /// The only tools that the model gets to see, by name; all where it is empty.
    #[serde(deserialize_with = "names")]
    #[schemars(with = "Vec<String>")]
    pub tools_only: Vec<String>,
    /// Shorten the descriptions of tools.
    pub compact_tools: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            schema: None,
            mode: Mode::Mlx,
            model: None,
            base_url: None,
            port: 0,
            client: "claude".into(),
            record: false,
            traces: "~/.anyclaude/traces".into(),
            keep_sessions: 50,
            tools_only: Vec::new(),
            compact_tools: false,
        }
    }
}

/// A list of names, or, as an environment variable has it, one text with commas.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Names;

    impl<'de> Visitor<'de> for Names {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
            f.write_str("a list of names")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(names))
        }
    }

    deserializer.deserialize_any(Names)
}

/// What answers the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The MLX engine, in this process, on a model folder
    #[serde(alias = "vllm-mlx")]
    #[value(alias = "vllm-mlx")]
    Mlx,
    /// Anthropic's own API, to record the reference
    Claude,
    /// Any server that speaks Anthropic's Messages API
    Anthropic,
}

impl Mode {
    /// Its name in flags, files and traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mlx => "mlx",
            Self::Claude => "claude",
            Self::Anthropic => "anthropic",
        }
    }
}

/// Why there are no settings. Every text names the place.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {source}; check its permissions", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}:{line}:{column}: {reason}", .path.display())]
    File { path: PathBuf, line: usize, column: usize, reason: String },
    #[error("{variable}: {reason}")]
    Environment { variable: String, reason: String },
}

/// A path with a leading `~` as the user's home folder.
pub fn expand_home(path: &std::path::Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// The JSON Schema of a configuration file, for editors.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Settings)
}
