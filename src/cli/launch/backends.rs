//! Each mode as a backend in this process: which server or engine it is, and what it needs to be known.

use std::sync::Arc;

use crate::backend::fallback::FallbackBackend;
use crate::backend::openai::OpenAiBackend;
use crate::backend::remote::RemoteBackend;
use crate::backend::trimmed::TrimRules;
use crate::backend::{Backend, BackendError};
use crate::cli::{CliError, say};
use crate::config::{FILE_NAMES, Mode, ModeSettings, Settings};
use crate::convert::Dialect;

const ANTHROPIC: &str = "https://api.anthropic.com";

/// Where LM Studio listens unless it is told otherwise.
const LM_STUDIO: &str = "http://127.0.0.1:1234/v1";

const OPENROUTER: &str = "https://openrouter.ai/api/v1";

const OPENAI: &str = "https://api.openai.com/v1";

/// What answers: one backend, or a chain.
pub struct Answering {
    pub backend: Arc<dyn Backend>,
    /// The same, where it is a chain that can say who answered.
    pub chain: Option<Arc<FallbackBackend>>,
    /// The engine in this process, where it is the backend or one in the chain.
    pub engine: Option<Arc<dyn Backend>>,
}

impl Answering {
    /// The chosen mode and those it falls back to, ready to answer. In a chain a backend that cannot be had now is left out.
    pub async fn start(settings: &Settings) -> Result<Self, CliError> {
        let is_engine = |mode| mode == Mode::Mlx;
        if settings.fallback.is_empty() {
            let backend = backend(settings, settings.mode).await?;
            let engine = is_engine(settings.mode).then(|| backend.clone());
            return Ok(Self { backend, chain: None, engine });
        }
        let (mut links, mut engine, mut failed) = (Vec::new(), None, None);
        for mode in std::iter::once(settings.mode).chain(settings.fallback.iter().copied()) {
            match backend(settings, mode).await {
                Ok(backend) => {
                    engine = engine.or_else(|| is_engine(mode).then(|| backend.clone()));
                    links.push(backend);
                }
                Err(error @ CliError::Backend(_)) => {
                    say(format_args!("going on without mode {}: {error}", mode.name()));
                    failed = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match failed {
            Some(error) if links.is_empty() => Err(error),
            _ => {
                let chain = Arc::new(FallbackBackend::new(links));
                Ok(Self { backend: chain.clone(), chain: Some(chain), engine })
            }
        }
    }
}

/// How the settings want prompts to be made smaller.
pub fn trim_rules(settings: &Settings) -> TrimRules {
    TrimRules { tools_only: settings.tools_only.clone(), compact_tools: settings.compact_tools }
}

/// What can be known to be wrong with a mode before anything is started.
pub fn check(settings: &Settings) -> Result<(), CliError> {
    let modes = std::iter::once(settings.mode).chain(settings.fallback.iter().copied());
    for mode in modes {
        let own = settings.of_mode(mode);
        match mode {
            Mode::Mlx => check_model(&own)?,
            Mode::Claude | Mode::Lmstudio => {}
            Mode::Openrouter => drop((model(mode, &own)?, key("OPENROUTER_API_KEY", mode)?)),
            Mode::Openai => {
                model(mode, &own)?;
                if own.base_url.is_none() {
                    key("OPENAI_API_KEY", mode)?;
                }
            }
            Mode::Anthropic => drop(base_url(mode, &own)?),
        }
    }
    Ok(())
}

/// One mode as a backend, ready to answer.
async fn backend(settings: &Settings, mode: Mode) -> Result<Arc<dyn Backend>, CliError> {
    let own = settings.of_mode(mode);
    let url_or = |default: &str| own.base_url.clone().unwrap_or_else(|| default.to_owned());
    match mode {
        Mode::Mlx => engine(&own, settings).await,
        Mode::Claude | Mode::Anthropic => remote(&base_url(mode, &own)?).await,
        Mode::Lmstudio => lm_studio(&url_or(LM_STUDIO), own.model.as_deref()).await,
        Mode::Openrouter => {
            let (model, key) = (model(mode, &own)?, key("OPENROUTER_API_KEY", mode)?);
            chat(&url_or(OPENROUTER), Some(&key), &model, Dialect::OpenRouter)
        }
        Mode::Openai => {
            let (url, key) = (url_or(OPENAI), std::env::var("OPENAI_API_KEY").ok());
            chat(&url, key.as_deref(), &model(mode, &own)?, Dialect::of_url(&url))
        }
    }
}

async fn remote(base_url: &str) -> Result<Arc<dyn Backend>, CliError> {
    Ok(Arc::new(RemoteBackend::new(base_url).await.map_err(unreachable)?))
}

fn chat(base_url: &str, key: Option<&str>, model: &str, dialect: Dialect) -> Result<Arc<dyn Backend>, CliError> {
    Ok(Arc::new(OpenAiBackend::new(base_url, key, Some(model), dialect).map_err(CliError::input)?))
}

/// LM Studio with the named model, else with the first one that it offers.
async fn lm_studio(base_url: &str, model: Option<&str>) -> Result<Arc<dyn Backend>, CliError> {
    if let Some(model) = model {
        return chat(base_url, None, model, Dialect::LmStudio);
    }
    let server = OpenAiBackend::new(base_url, None, None, Dialect::LmStudio).map_err(CliError::input)?;
    let models = server.models().await;
    let models = models.map_err(|error| CliError::backend(format!("{error}; start LM Studio's server: lms server start")))?;
    // It names its embedding models so, and they answer nothing.
    let first = models.iter().find(|model| !model.starts_with("text-embedding"));
    let first = first.ok_or_else(|| CliError::backend("LM Studio has no model; get one with: lms get"))?;
    chat(base_url, None, first, Dialect::LmStudio)
}

fn unreachable(error: BackendError) -> CliError {
    CliError::backend(format!("{error}; is the server running?"))
}

/// The base URL of a mode whose server speaks Anthropic's protocol. Mode claude goes where the client alone would go.
pub fn base_url(mode: Mode, own: &ModeSettings) -> Result<String, CliError> {
    let clients_own = || std::env::var("ANTHROPIC_BASE_URL").ok().filter(|url| !url.is_empty());
    let default = || (mode == Mode::Claude).then(|| clients_own().unwrap_or_else(|| ANTHROPIC.into()));
    own.base_url.clone().or_else(default).ok_or_else(|| {
        CliError::input(format!(
            "mode {} needs the address of a server: give it with --base-url URL, or as base_url in {}",
            mode.name(),
            FILE_NAMES[0]
        ))
    })
}

fn model(mode: Mode, own: &ModeSettings) -> Result<String, CliError> {
    own.model.clone().ok_or_else(|| {
        CliError::input(format!(
            "mode {} needs the name of a model: give it with --model NAME, or as model in {}",
            mode.name(),
            FILE_NAMES[0]
        ))
    })
}

fn key(variable: &str, mode: Mode) -> Result<String, CliError> {
    let key = std::env::var(variable).ok().filter(|key| !key.is_empty());
    key.ok_or_else(|| CliError::input(format!("mode {} needs a key: export {variable}=…", mode.name())))
}

/// The model folder of mode mlx.
#[cfg(feature = "mlx")]
fn model_folder(own: &ModeSettings) -> Result<std::path::PathBuf, CliError> {
    use crate::cli::model_folder::{ModelFolder, ModelFolderError};

    let given = crate::config::expand_home(std::path::Path::new(own.model.as_deref().unwrap_or("fixtures/models/tiny")));
    ModelFolder::find(&given).map_err(|error| match error {
        ModelFolderError::NotPulled(_) => CliError::input(error),
        error => CliError::input(format!("{error}; name another with --model, or get one with: anyclaude model pull")),
    })
}

#[cfg(feature = "mlx")]
fn check_model(own: &ModeSettings) -> Result<(), CliError> {
    model_folder(own).map(drop)
}

#[cfg(not(feature = "mlx"))]
fn check_model(_own: &ModeSettings) -> Result<(), CliError> {
    Err(CliError::input("this build has no MLX engine; choose another mode with --mode"))
}

#[cfg(feature = "mlx")]
async fn engine(own: &ModeSettings, settings: &Settings) -> Result<Arc<dyn Backend>, CliError> {
    use crate::cli::serve::cache_args::CacheArgs;
    use crate::engine::EngineOptions;

    let cache = CacheArgs::from_env()?;
    let disk = cache.disk(settings.cache_dir.as_deref().map(crate::config::expand_home));
    let options = EngineOptions { cache: cache.limits(), disk, ..EngineOptions::default() };
    Ok(Arc::new(crate::cli::serve::load(model_folder(own)?, options).await?))
}

#[cfg(not(feature = "mlx"))]
async fn engine(own: &ModeSettings, _settings: &Settings) -> Result<Arc<dyn Backend>, CliError> {
    check_model(own)?;
    Err(CliError::backend("there is no engine"))
}
