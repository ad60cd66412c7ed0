//! Who answers the client in each mode, and starting and stopping it where it is in this process.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::launch_error;
use crate::backend::Backend;
use crate::backend::fitted::{FittedBackend, Fitting, Savings};
use crate::cli::CliError;
use crate::cli::trace::text::number;
use crate::config::{FILE_NAMES, Mode, Settings};
use crate::record::Upstream;
use crate::server::{Server, ServerOptions};

/// Where mode claude goes.
const ANTHROPIC: &str = "https://api.anthropic.com";

/// Who is going to answer. Whatever can be known to be wrong before anything is loaded is an error here.
pub enum Origin {
    /// A server elsewhere: there is nothing to start.
    Elsewhere(Upstream),
    /// A backend in this process, behind a server on a free port.
    Here { upstream: Upstream, listener: TcpListener },
}

impl Origin {
    /// What the settings' mode needs.
    pub async fn of(settings: &Settings) -> Result<Self, CliError> {
        let elsewhere = |url: &str| {
            if !fitting(settings).is_empty() {
                return Err(cannot_fit(settings.mode));
            }
            Upstream::parse(url).map(Self::Elsewhere).map_err(launch_error)
        };
        match settings.mode {
            Mode::Mlx => {
                check_model(settings)?;
                Self::here().await
            }
            Mode::Claude => elsewhere(ANTHROPIC),
            Mode::Anthropic => elsewhere(settings.base_url.as_deref().ok_or_else(|| no_base_url(settings.mode))?),
        }
    }

    async fn here() -> Result<Self, CliError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(CliError::backend)?;
        let address = listener.local_addr().map_err(CliError::backend)?;
        Ok(Self::Here { upstream: Upstream::parse(&format!("http://{address}")).map_err(launch_error)?, listener })
    }

    /// Where requests go.
    pub fn upstream(&self) -> &Upstream {
        match self {
            Self::Elsewhere(upstream) | Self::Here { upstream, .. } => upstream,
        }
    }

    /// Returns when it is ready to answer.
    pub async fn start(self, settings: &Settings) -> Result<Running, CliError> {
        match self {
            Self::Elsewhere(upstream) => Ok(Running { name: upstream.to_string(), server: None, fitted: None }),
            Self::Here { listener, .. } => {
                let backend = backend(settings).await?;
                let name = format!("{} {}", settings.mode.name(), backend.model());
                let fitting = fitting(settings);
                let fitted = (!fitting.is_empty()).then(|| Arc::new(FittedBackend::new(backend.clone(), fitting)));
                let backend = fitted.clone().map_or(backend, |fitted| fitted as Arc<dyn Backend>);
                Ok(Running { name, server: Some(OwnServer::start(backend, listener)), fitted })
            }
        }
    }
}

/// Who answers.
pub struct Running {
    name: String,
    server: Option<OwnServer>,
    fitted: Option<Arc<FittedBackend>>,
}

/// A server in this process.
struct OwnServer {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl OwnServer {
    fn start(backend: Arc<dyn Backend>, listener: TcpListener) -> Self {
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(async move {
            // The sender sends or is gone: both mean the end.
            let stopped = async { drop(stopped.await) };
            if let Err(error) = Server::new(backend, ServerOptions::default()).run(listener, stopped).await {
                tracing::error!("the server in this process ended: {error}");
            }
        });
        Self { stop, ended }
    }
}

impl Running {
    /// What to call it in output.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What fitting the prompts saves, a line each. Empty where they are not fitted or no request had tools.
    pub async fn savings(&self) -> Vec<String> {
        let Some(fitted) = &self.fitted else { return Vec::new() };
        let Some(Savings { tools, tokens, absent }) = fitted.savings().await else { return Vec::new() };
        let fewer = 100 - 100 * tokens.1 / tokens.0.max(1);
        let mut lines = vec![format!(
            "prompt fitted: {} tools to {}, {} tokens to {} ({fewer}% fewer)",
            tools.0,
            tools.1,
            number(tokens.0),
            number(tokens.1)
        )];
        if !absent.is_empty() {
            lines.push(format!("the client has no tool named {}", absent.join(" or ")));
        }
        lines
    }

    /// Ends it in good order, the engine with it.
    pub async fn stop(self) {
        if let Some(OwnServer { stop, ended }) = self.server {
            // Both fail only where the server has ended by itself, which it has told.
            stop.send(()).ok();
            ended.await.ok();
        }
    }
}

fn fitting(settings: &Settings) -> Fitting {
    Fitting { tools_only: settings.tools_only.clone(), compact_tools: settings.compact_tools }
}

fn cannot_fit(mode: Mode) -> CliError {
    CliError::input(format!(
        "mode {} passes requests on unchanged: leave out --tools-only and --compact-tools, or choose another mode with --mode",
        mode.name()
    ))
}

fn no_base_url(mode: Mode) -> CliError {
    let name = mode.name();
    CliError::input(format!(
        "mode {name} needs the address of a server: give it with --base-url URL, or as base_url in {}",
        FILE_NAMES[0]
    ))
}

#[cfg(feature = "mlx")]
fn check_model(settings: &Settings) -> Result<(), CliError> {
    use crate::cli::model_folder::ModelFolder;

    let folder = super::model_folder(settings);
    let checked = ModelFolder::inspect(&folder).map(drop);
    checked.map_err(|error| CliError::input(format!("{error}; name one with --model DIR")))
}

#[cfg(not(feature = "mlx"))]
fn check_model(_settings: &Settings) -> Result<(), CliError> {
    Err(CliError::input("this build has no MLX engine; choose another mode with --mode"))
}

#[cfg(feature = "mlx")]
async fn backend(settings: &Settings) -> Result<Arc<dyn Backend>, CliError> {
    use crate::engine::CacheLimits;

    let backend = crate::cli::serve::load(super::model_folder(settings), CacheLimits::default(), None).await?;
    Ok(Arc::new(backend))
}

#[cfg(not(feature = "mlx"))]
async fn backend(settings: &Settings) -> Result<Arc<dyn Backend>, CliError> {
    Err(CliError::input(format!("this build has no backend for mode {}", settings.mode.name())))
}
