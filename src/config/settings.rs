//! Which settings there are, and their defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, ModelPrice};
use crate::replay::DEFAULT_RETRIES;
use crate::report::Budgets;
use crate::snapshot::Rule;
use crate::trace::redact::SecretPattern;

/// Everything that can be configured, under the names that the files use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The schema with which an editor checks this file. It changes nothing.
    #[serde(rename = "$schema", skip_serializing)]
    pub schema: Option<String>,
    /// What answers the client.
    pub mode: Mode,
    /// With mode mlx: the model's folder, or the name of a pulled model. With other modes: the model to ask for, whatever the
    /// client asks for.
    pub model: Option<String>,
    /// The base URL of the server that answers; mode mlx has none.
    pub base_url: Option<String>,
    /// The port on 127.0.0.1 that the client is pointed at; 0 picks a free one.
    pub port: u16,
    /// The client to run: a name on PATH, or a path.
    pub client: String,
    /// Whether to record every run.
    pub record: bool,
    /// The folder for recordings. Each mode has a folder of its own in it.
    pub traces: PathBuf,
    /// How many recordings each mode keeps; older ones are removed.
    pub keep_sessions: usize,
    /// The names of the only tools that the model gets to see; if empty, it sees all.
    pub tools_only: Vec<String>,
    /// Whether to shorten the descriptions of tools.
    pub compact_tools: bool,
    /// With mode mlx: the folder in which the prefix cache outlives a run.
    pub cache_dir: Option<PathBuf>,
    /// The origins, such as https://app.example, whose web pages may use the port that the client is pointed at. They need the
    /// client's token too.
    pub allow_origin: Vec<String>,
    /// The modes to ask, in this order, when the chosen one is down or overloaded.
    pub fallback: Vec<Mode>,
    /// What else is kept out of recordings.
    pub redact: RedactSettings,
    /// What `anyclaude record` does unless a flag says otherwise.
    pub recorder: RecorderSettings,
    /// What `anyclaude replay` does unless a flag says otherwise.
    pub replay: ReplayDefaults,
    /// Settings of single modes. For the chosen mode, the values above win.
    pub modes: BTreeMap<Mode, ModeSettings>,
}

/// What is kept out of recordings, besides everything that is known to be secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedactSettings {
    /// Regular expressions. What they match is replaced by [redacted] in recordings, logs, scrubbed copies, and in the
    /// snapshots, reports and errors of `anyclaude replay` and `load`.
    pub patterns: Vec<SecretPattern>,
}

/// What `anyclaude record` does unless a flag says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RecorderSettings {
    /// The base URLs to send requests on to; if empty, Anthropic's. One without a prefix is for all paths that begin with none;
    /// `/openrouter=https://openrouter.ai/api` is for those that begin with `/openrouter`, which is not sent on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<String>,
    /// A PEM file with certificates that are trusted beside the system's. In a file of settings it is looked for beside that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How many days a session is kept after its last exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_days: Option<u32>,
    /// How much disk space sessions may take, such as 10GB. The oldest go first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_bytes: Option<ByteSize>,
    /// What each model's tokens cost, under the name that requests have for it; a name that ends with `*` is for all that begin
    /// so. A model without prices has no cost.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: BTreeMap<String, ModelPrice>,
}

/// What `anyclaude replay` does unless a flag says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayDefaults {
    /// How often to send a request again while the backend is overloaded or limits the rate.
    pub retries: u32,
    /// The most that times may be, by phase, metric and percentile, such as `cached.ttft.p50 = "500ms"`; or a share of another
    /// phase's, `"0.2 * cold"`.
    pub budget: Budgets,
    /// Under which rules a call's arguments are equal to the accepted ones.
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Whether the order of an answer's calls does not count.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unordered_calls: bool,
}

impl Default for ReplayDefaults {
    fn default() -> Self {
        Self { retries: DEFAULT_RETRIES, budget: Budgets::new(), rules: Vec::new(), unordered_calls: false }
    }
}

/// The settings that each mode can have for itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModeSettings {
    /// With mode mlx: the model's folder, or the name of a pulled model. With other modes: the model to ask for.
    pub model: Option<String>,
    /// The base URL of the server that answers.
    pub base_url: Option<String>,
}

impl Settings {
    /// A mode's settings: its part of `modes`, and for the chosen mode the values at the top over it.
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
            allow_origin: Vec::new(),
            fallback: Vec::new(),
            redact: RedactSettings::default(),
            recorder: RecorderSettings::default(),
            replay: ReplayDefaults::default(),
            modes: BTreeMap::new(),
        }
    }
}

/// What answers the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The MLX engine in this process, on a model folder
    #[serde(alias = "vllm-mlx")]
    Mlx,
    /// Anthropic's own API, to record the reference
    Claude,
    /// LM Studio's server on this machine
    Lmstudio,
    /// OpenRouter; the key is taken from OPENROUTER_API_KEY
    Openrouter,
    /// Any server that speaks OpenAI's chat completions; the key is taken from OPENAI_API_KEY
    Openai,
    /// Any server that speaks Anthropic's Messages API
    Anthropic,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 6] = [Self::Mlx, Self::Claude, Self::Lmstudio, Self::Openrouter, Self::Openai, Self::Anthropic];

    /// The mode's name in flags, files and traces.
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

    /// Whether requests go on to the server as the client sent them, with the client's own credentials.
    pub fn passes_through(self) -> bool {
        matches!(self, Self::Claude | Self::Anthropic)
    }
}
