//! What the launcher is told: which settings there are, and what each one is worth by default.
//!
//! `layers` finds the values (flag, environment, project, home, default) and remembers where each came from; `file` reads one
//! configuration file with errors that name the line. What the settings do is `cli`'s.

mod file;
mod layers;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, Error, SeqAccess, Visitor};
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
    /// With mode mlx: the model's folder, or the name of a pulled one. With other modes: the model to ask for whatever the client asks for.
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
    #[serde(deserialize_with = "list")]
    #[schemars(with = "Vec<String>")]
    pub tools_only: Vec<String>,
    /// Shorten the descriptions of tools.
    pub compact_tools: bool,
    /// With mode mlx: the folder where the prefix cache outlives a run.
    pub cache_dir: Option<PathBuf>,
    /// The modes that are asked, in this order, where the chosen one is down or overloaded.
    #[serde(deserialize_with = "list")]
    #[schemars(with = "Vec<Mode>")]
    pub fallback: Vec<Mode>,
    /// What single modes go by, where it is not set for the chosen mode above.
    pub modes: BTreeMap<Mode, ModeSettings>,
}

/// What one mode goes by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModeSettings {
    /// With mode mlx: the model's folder, or the name of a pulled one. With other modes: the model to ask for.
    pub model: Option<String>,
    /// The base URL of the server that answers.
    pub base_url: Option<String>,
}

impl Settings {
    /// What a mode goes by: for the chosen one what is set at the top, else its own part.
    pub fn of_mode(&self, mode: Mode) -> ModeSettings {
        let own = self.modes.get(&mode).cloned().unwrap_or_default();
        if mode != self.mode {
            return own;
        }
        ModeSettings { model: self.model.clone().or(own.model), base_url: self.base_url.clone().or(own.base_url) }
    }
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
            cache_dir: None,
            fallback: Vec::new(),
            modes: BTreeMap::new(),
        }
    }
}

/// A list, or, as an environment variable has it, one text with commas.
fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct List<T>(PhantomData<T>);

    impl<'de, T: DeserializeOwned> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
            f.write_str("a list of names")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            names.map(|name| T::deserialize(StrDeserializer::new(name))).collect()
        }

        fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(items))
        }
    }

    deserializer.deserialize_any(List(PhantomData))
}

/// What answers the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The MLX engine, in this process, on a model folder
    #[serde(alias = "vllm-mlx")]
    #[value(alias = "vllm-mlx")]
    Mlx,
    /// Anthropic's own API, to record the reference
    Claude,
    /// LM Studio's server on this machine
    Lmstudio,
    /// OpenRouter; its key is taken from OPENROUTER_API_KEY
    Openrouter,
    /// Any server that speaks OpenAI's chat completions; its key is taken from OPENAI_API_KEY
    Openai,
    /// Any server that speaks Anthropic's Messages API
    Anthropic,
}

impl Mode {
    /// Its name in flags, files and traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mlx => "mlx",
            Self::Claude => "claude",
            Self::Lmstudio => "lmstudio",
            Self::Openrouter => "openrouter",
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    /// Whether requests go on to the server as the client sent them, its own credentials included.
    pub fn passes_through(self) -> bool {
        matches!(self, Self::Claude | Self::Anthropic)
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
