//! Where each mode's answers come from: what the settings say of it, checked, and the backend that it becomes.

use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::openai::OpenAiBackend;
use crate::backend::remote::RemoteBackend;
use crate::backend::{Backend, BackendError, TimeLimits};
use crate::cli::{CliError, blocking, keys};
use crate::config::{FILE_NAMES, Mode, ModeSettings, Settings};
use crate::convert::Dialect;
use crate::net::check_listening;

const ANTHROPIC: &str = "https://api.anthropic.com";

/// LM Studio's default address.
const LM_STUDIO: &str = "http://127.0.0.1:1234/v1";

const OPENROUTER: &str = "https://openrouter.ai/api/v1";

const OPENAI: &str = "https://api.openai.com/v1";

/// What answers in a mode. Everything that can be wrong without a connection has been checked.
pub(crate) enum AnswerSource {
    /// The engine in this process, on this model folder.
    Engine { folder: PathBuf },
    /// A server that speaks the Messages API.
    Messages { base_url: String },
    /// A server that speaks chat completions.
    Chat { base_url: String, key: Option<String>, model: String, dialect: Dialect },
    /// LM Studio; without a model's name, the first model that it has.
    LmStudio { base_url: String, model: Option<String> },
}

/// The sources of the chosen mode and of those it falls back to, in the order in which they are asked.
pub(crate) async fn sources(settings: &Settings) -> Result<Vec<(Mode, AnswerSource)>, CliError> {
    let modes = std::iter::once(settings.mode).chain(settings.fallback.iter().copied());
    let modes: Vec<(Mode, ModeSettings)> = modes.map(|mode| (mode, settings.of_mode(mode))).collect();
    // A model folder is looked at, which may block.
    blocking(|| modes.into_iter().map(|(mode, settings)| Ok((mode, AnswerSource::of(mode, settings)?))).collect()).await
}

impl AnswerSource {
    /// The source of a mode.
    ///
    /// # Errors
    /// The mode needs something that the settings lack.
    pub(crate) fn of(mode: Mode, settings: ModeSettings) -> Result<Self, CliError> {
        let ModeSettings { model, base_url } = settings;
        let url_or = |default: &str| base_url.clone().unwrap_or_else(|| default.to_owned());
        Ok(match mode {
            Mode::Mlx => Self::Engine { folder: model_folder(model)? },
            Mode::Claude => Self::Messages { base_url: base_url.unwrap_or_else(anthropic_url) },
            Mode::Anthropic => {
                let missing = "the address of a server: give it with --base-url URL, or as base_url";
                Self::Messages { base_url: required(base_url, mode, missing)? }
            }
            Mode::Lmstudio => Self::LmStudio { base_url: url_or(LM_STUDIO), model },
            Mode::Openrouter => Self::Chat {
                base_url: url_or(OPENROUTER),
                model: required_model(model, mode)?,
                key: Some(keys::from_environment("OPENROUTER_API_KEY")?.ok_or_else(|| no_key("OPENROUTER_API_KEY", mode))?),
                dialect: Dialect::OpenRouter,
            },
            Mode::Openai => {
                let (model, url) = (required_model(model, mode)?, url_or(OPENAI));
                let key = keys::from_environment("OPENAI_API_KEY")?;
                // Only OpenAI's own server is known to need one.
                if key.is_none() && base_url.is_none() {
                    return Err(no_key("OPENAI_API_KEY", mode));
                }
                Self::Chat { dialect: Dialect::of_url(&url), base_url: url, key, model }
            }
        })
    }

    /// Finds out whether a server of this machine listens, unless connecting asks it anyway. A client would ask it again and again
    /// for minutes, without a word.
    ///
    /// # Errors
    /// It does not.
    pub(crate) async fn check_listening(&self, mode: Mode) -> Result<(), CliError> {
        let (Self::Messages { base_url } | Self::Chat { base_url, .. } | Self::LmStudio { base_url, model: Some(_) }) = self
        else {
            return Ok(());
        };
        let start = if mode == Mode::Lmstudio { "start LM Studio's server: lms server start" } else { "start the server" };
        check_listening(base_url, TimeLimits::default().connect)
            .await
            .map_err(|error| CliError::Unreachable(format!("{base_url}: {error}; {start}, or name another with --base-url")))
    }

    /// The backend, ready to answer. A server gets these limits of time.
    pub(crate) async fn connect(self, settings: &Settings, limits: TimeLimits) -> Result<Arc<dyn Backend>, CliError> {
        match self {
            Self::Engine { folder } => engine(folder, settings).await,
            Self::Messages { base_url } => Ok(Arc::new(RemoteBackend::within(&base_url, limits).await?)),
            Self::Chat { base_url, key, model, dialect } => chat(&base_url, key.as_deref(), &model, dialect, limits),
            Self::LmStudio { base_url, model: Some(model) } => chat(&base_url, None, &model, Dialect::LmStudio, limits),
            Self::LmStudio { base_url, model: None } => lm_studio(&base_url, limits).await,
        }
    }
}

/// Where the client alone would go.
pub(super) fn anthropic_url() -> String {
    std::env::var("ANTHROPIC_BASE_URL").ok().filter(|url| !url.is_empty()).unwrap_or_else(|| ANTHROPIC.into())
}

/// A setting that the mode needs; `missing` describes it, with the ways to give it.
fn required(value: Option<String>, mode: Mode, missing: &str) -> Result<String, CliError> {
    value.ok_or_else(|| CliError::input(format!("mode {} needs {missing} in ~/{}", mode.name(), FILE_NAMES[0])))
}

fn required_model(model: Option<String>, mode: Mode) -> Result<String, CliError> {
    required(model, mode, "the name of a model: give it with --model NAME, or as model")
}

fn no_key(variable: &str, mode: Mode) -> CliError {
    CliError::input(format!("mode {} needs a key: export {variable}=…", mode.name()))
}

fn chat(
    base_url: &str,
    key: Option<&str>,
    model: &str,
    dialect: Dialect,
    limits: TimeLimits,
) -> Result<Arc<dyn Backend>, CliError> {
    Ok(Arc::new(OpenAiBackend::within(base_url, key, Some(model), dialect, limits).map_err(CliError::input)?))
}

/// LM Studio with the first model that it offers.
async fn lm_studio(base_url: &str, limits: TimeLimits) -> Result<Arc<dyn Backend>, CliError> {
    let server = OpenAiBackend::within(base_url, None, None, Dialect::LmStudio, limits).map_err(CliError::input)?;
    let models = server.models().await;
    let models = models.map_err(|error| match error {
        BackendError::Unreachable { .. } => CliError::Unreachable(format!("{error}; start LM Studio's server: lms server start")),
        other => other.into(),
    })?;
    // Its embedding models answer nothing. They are recognised by their names.
    let first = models.iter().find(|model| !model.starts_with("text-embedding"));
    let first = first.ok_or_else(|| CliError::backend("LM Studio has no model; get one with: lms get"))?;
    chat(base_url, None, first, Dialect::LmStudio, limits)
}

#[cfg(feature = "mlx")]
fn model_folder(model: Option<String>) -> Result<PathBuf, CliError> {
    use std::path::Path;

    use crate::cli::local_model::{self, ModelFolderError};

    let given = crate::config::expand_home(Path::new(model.as_deref().unwrap_or(local_model::EMBEDDED)));
    local_model::find(&given).map_err(|error| match error {
        ModelFolderError::NotPulled(_) => CliError::input(error),
        error => CliError::input(format!("{error}; name another with --model, or get one with: anyclaude model pull")),
    })
}

#[cfg(feature = "mlx")]
async fn engine(folder: PathBuf, settings: &Settings) -> Result<Arc<dyn Backend>, CliError> {
    use crate::cli::local_model::{self, CacheArgs, OutputArgs};
    use crate::engine::EngineOptions;

    let cache = local_model::from_env::<CacheArgs>()?;
    let disk = cache.disk(settings.cache_dir.as_deref().map(crate::config::expand_home));
    let output = local_model::from_env::<OutputArgs>()?.limits();
    let options = EngineOptions { cache: cache.limits(), disk, output, ..EngineOptions::default() };
    Ok(Arc::new(local_model::load(folder, options).await?))
}

#[cfg(not(feature = "mlx"))]
fn model_folder(_model: Option<String>) -> Result<PathBuf, CliError> {
    Err(CliError::input("this build has no MLX engine; choose another mode with --mode"))
}

#[cfg(not(feature = "mlx"))]
async fn engine(_folder: PathBuf, _settings: &Settings) -> Result<Arc<dyn Backend>, CliError> {
    Err(CliError::backend("this build has no MLX engine"))
}
