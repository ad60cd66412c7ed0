//! Who answers the client in each mode, and starting and stopping it where it is in this process.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::backends::{Answering, base_url, check, trim_rules};
use super::launch_error;
#[cfg(feature = "mlx")]
use super::warm_up::warm_up;
use crate::backend::Backend;
use crate::backend::fallback::FallbackBackend;
use crate::backend::trimmed::{TrimSavings, TrimmedBackend, TrimmedBodies};
use crate::cli::CliError;
#[cfg(feature = "mlx")]
use crate::cli::serve::cache_args::CacheArgs;
use crate::cli::trace::text::number;
use crate::config::Settings;
#[cfg(feature = "mlx")]
use crate::config::expand_home;
use crate::record::Upstream;
use crate::server::{Server, ServerOptions};

/// Who is going to answer. Whatever can be known to be wrong before anything is loaded is an error here.
pub enum Origin {
    /// A server elsewhere: there is nothing to start.
    Elsewhere { upstream: Upstream, trimmed: Option<Arc<TrimmedBodies>> },
    /// A backend in this process, behind a server on a free port.
    Here { upstream: Upstream, listener: TcpListener },
}

impl Origin {
    /// What the settings' mode needs.
    pub async fn of(settings: &Settings) -> Result<Self, CliError> {
        check(settings)?;
        let mode = settings.mode;
        if !mode.passes_through() || !settings.fallback.is_empty() {
            return Self::here().await;
        }
        let upstream = Upstream::parse(&base_url(mode, &settings.of_mode(mode))?).map_err(launch_error)?;
        let rules = trim_rules(settings);
        let trimmed = (!rules.is_empty()).then(|| Arc::new(TrimmedBodies::new(rules)));
        let upstream = match &trimmed {
            Some(trimmed) => upstream.trimmed(trimmed.clone()),
            None => upstream,
        };
        Ok(Self::Elsewhere { upstream, trimmed })
    }

    async fn here() -> Result<Self, CliError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(CliError::backend)?;
        let address = listener.local_addr().map_err(CliError::backend)?;
        Ok(Self::Here { upstream: Upstream::parse(&format!("http://{address}")).map_err(launch_error)?, listener })
    }

    /// Where requests go.
    pub fn upstream(&self) -> &Upstream {
        match self {
            Self::Elsewhere { upstream, .. } | Self::Here { upstream, .. } => upstream,
        }
    }

    /// Returns when it is ready to answer.
    pub async fn start(self, settings: &Settings) -> Result<Running, CliError> {
        match self {
            Self::Elsewhere { upstream, trimmed } => {
                let trimmed = trimmed.map(Trimmed::Elsewhere);
                Ok(Running { name: upstream.to_string(), server: None, engine: None, trimmed, chain: None })
            }
            Self::Here { listener, .. } => {
                let Answering { backend, chain, engine } = Answering::start(settings).await?;
                let name = match &chain {
                    Some(_) => backend.name(),
                    None => format!("{} {}", settings.mode.name(), backend.model()),
                };
                let rules = trim_rules(settings);
                let trimmed = (!rules.is_empty()).then(|| Arc::new(TrimmedBackend::new(backend.clone(), rules)));
                let backend = trimmed.clone().map_or(backend, |trimmed| trimmed as Arc<dyn Backend>);
                let server = Some(OwnServer::start(backend, listener));
                Ok(Running { name, server, engine, trimmed: trimmed.map(Trimmed::Here), chain })
            }
        }
    }
}

/// Who answers.
pub struct Running {
    name: String,
    server: Option<OwnServer>,
    engine: Option<Arc<dyn Backend>>,
    trimmed: Option<Trimmed>,
    chain: Option<Arc<FallbackBackend>>,
}

/// Where prompts are trimmed: behind our server, or on the way to another one.
enum Trimmed {
    Here(Arc<TrimmedBackend>),
    Elsewhere(Arc<TrimmedBodies>),
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

    /// Who in a chain answered how often, a line each.
    pub fn answered(&self) -> Vec<String> {
        let answered = self.chain.iter().flat_map(|chain| chain.answered());
        answered.map(|(name, requests)| format!("{name} answered {requests}")).collect()
    }

    /// Computes ahead what the conversation will begin with, where the engine is here and an earlier run was recorded.
    #[cfg(feature = "mlx")]
    pub async fn warm_up(&self, settings: &Settings) -> Result<(), CliError> {
        let Some(cache) = self.engine.as_ref().and_then(|engine| engine.cache()) else { return Ok(()) };
        let (arguments, traces) = (CacheArgs::from_env()?, expand_home(&settings.traces));
        let known = tokio::task::spawn_blocking(move || arguments.warm_up(&traces)).await.map_err(CliError::backend)??;
        if let Some(request) = known {
            warm_up(cache, trim_rules(settings).apply(request)).await;
        }
        Ok(())
    }

    /// There is no engine in this build.
    #[cfg(not(feature = "mlx"))]
    pub async fn warm_up(&self, _settings: &Settings) -> Result<(), CliError> {
        Ok(())
    }

    /// How much time the engine's prefix cache saved, in seconds, where the engine is here.
    pub fn saved_seconds(&self) -> Option<f64> {
        Some(self.engine.as_ref()?.cache()?.report()?.saved_seconds)
    }

    /// What trimming the prompts saves, a line each. Empty if they are not trimmed or no request had tools.
    pub async fn savings(&self) -> Vec<String> {
        let savings = match &self.trimmed {
            Some(Trimmed::Here(backend)) => backend.savings().await,
            Some(Trimmed::Elsewhere(bodies)) => bodies.savings(),
            None => None,
        };
        let Some(TrimSavings { tools, tokens, absent }) = savings else { return Vec::new() };
        let fewer = 100 - 100 * tokens.1 / tokens.0.max(1);
        let mut lines = vec![format!(
            "prompt trimmed: {} tools to {}, {} tokens to {} ({fewer}% fewer)",
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
