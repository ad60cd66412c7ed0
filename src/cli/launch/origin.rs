//! Where the client's requests go: to a server elsewhere, or to one of our own in this process.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::backend::LaunchBackend;
use super::errors::launch_error;
use super::modes::{AnswerSource, anthropic_url, sources};
use crate::backend::fallback::FallbackBackend;
use crate::backend::trimmed::{TrimRules, TrimSavings, TrimmedBackend, TrimmedBodies};
use crate::backend::{Backend, ModelLimits};
use crate::cli::CliError;
use crate::cli::allow::REMEDIES;
use crate::cli::child::outer_token;
use crate::cli::text::grouped;
use crate::config::{Mode, Settings};
use crate::record::Upstream;
use crate::server::{Allowed, RunToken, Server, ServerOptions};

/// Where requests will go. Nothing is loaded or connected yet, and everything that can be wrong before that has been checked.
pub(crate) enum Origin {
    /// To a server elsewhere, as the client sent them but for what trims their prompts. There is nothing to start.
    Elsewhere { upstream: Upstream, trimmed: Option<Arc<TrimmedBodies>> },
    /// To a server in this process, on a free port.
    Here { upstream: Upstream, listener: TcpListener, sources: Vec<(Mode, AnswerSource)>, options: ServerOptions },
}

impl Origin {
    /// Where the settings send requests.
    pub(crate) async fn of(settings: &Settings) -> Result<Self, CliError> {
        let sources = sources(settings).await?;
        // A chain goes on without those that are down.
        if let [(mode, source)] = &sources[..] {
            source.check_listening(*mode).await?;
        }
        match &sources[..] {
            [(_, AnswerSource::Messages { base_url })] => Self::elsewhere(base_url, settings),
            _ => Self::here(sources, settings).await,
        }
    }

    fn elsewhere(base_url: &str, settings: &Settings) -> Result<Self, CliError> {
        let mut upstream = Upstream::parse(base_url).map_err(launch_error)?;
        if settings.mode == Mode::Claude
            && upstream.is_loopback()
            && base_url == anthropic_url()
            && let Some(token) = outer_token()
        {
            upstream = upstream.with_token(token);
        }
        let rules = trim_rules(settings);
        if rules.is_empty() {
            return Ok(Self::Elsewhere { upstream, trimmed: None });
        }
        let trimmed = Arc::new(TrimmedBodies::new(rules));
        Ok(Self::Elsewhere { upstream: upstream.trimmed(trimmed.clone()), trimmed: Some(trimmed) })
    }

    async fn here(sources: Vec<(Mode, AnswerSource)>, settings: &Settings) -> Result<Self, CliError> {
        // Only the recorder is to use it: whoever else found its port would get round the recorder's door.
        let token = RunToken::random().map_err(CliError::backend)?;
        let api_key = Some(token.secret().to_owned());
        let options = ServerOptions { api_key, allowed: allowed(settings)?, ..ServerOptions::default() };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(CliError::backend)?;
        let address = listener.local_addr().map_err(CliError::backend)?;
        let upstream = Upstream::parse(&format!("http://{address}")).map_err(launch_error)?.with_token(token);
        Ok(Self::Here { upstream, listener, sources, options })
    }

    /// The server's address.
    pub(crate) fn upstream(&self) -> &Upstream {
        match self {
            Self::Elsewhere { upstream, .. } | Self::Here { upstream, .. } => upstream,
        }
    }

    /// Starts what is to run in this process; returns when it is ready to answer.
    pub(crate) async fn start(self, settings: &Settings) -> Result<RunningOrigin, CliError> {
        match self {
            Self::Elsewhere { upstream, trimmed } => Ok(RunningOrigin {
                name: upstream.to_string(),
                server: None,
                engine: None,
                chain: None,
                trimmed: trimmed.map(TrimmedPrompts::Elsewhere),
                limits: ModelLimits::default(),
            }),
            Self::Here { listener, sources, options, .. } => {
                let LaunchBackend { backend, chain, engine } = LaunchBackend::connect(sources, settings).await?;
                let name = match &chain {
                    Some(_) => backend.name(),
                    None => format!("{} {}", settings.mode.name(), backend.model()),
                };
                let rules = trim_rules(settings);
                let trimmed = (!rules.is_empty()).then(|| Arc::new(TrimmedBackend::new(backend.clone(), rules)));
                let limits = backend.limits().await;
                let backend = trimmed.clone().map_or(backend, |trimmed| trimmed as Arc<dyn Backend>);
                let server = Some(OwnServer::start(backend, listener, options));
                Ok(RunningOrigin { name, server, engine, chain, trimmed: trimmed.map(TrimmedPrompts::Here), limits })
            }
        }
    }
}

/// The web pages that the settings allow.
pub(super) fn allowed(settings: &Settings) -> Result<Allowed, CliError> {
    let origins: Result<_, String> = settings.allow_origin.iter().map(|origin| origin.parse()).collect();
    let origins = origins.map_err(|reason| CliError::input(format!("allow_origin: {reason}")))?;
    Ok(Allowed { origins, remedies: REMEDIES, ..Allowed::default() })
}

/// How the settings want prompts trimmed.
pub(super) fn trim_rules(settings: &Settings) -> TrimRules {
    TrimRules { tools_only: settings.tools_only.clone(), compact_tools: settings.compact_tools }
}

/// An origin that answers.
pub(crate) struct RunningOrigin {
    name: String,
    server: Option<OwnServer>,
    engine: Option<Arc<dyn Backend>>,
    chain: Option<Arc<FallbackBackend>>,
    trimmed: Option<TrimmedPrompts>,
    limits: ModelLimits,
}

/// What trims prompts: behind our own server, or on the way to another.
enum TrimmedPrompts {
    Here(Arc<TrimmedBackend>),
    Elsewhere(Arc<TrimmedBodies>),
}

/// A server in this process.
struct OwnServer {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl OwnServer {
    fn start(backend: Arc<dyn Backend>, listener: TcpListener, options: ServerOptions) -> Self {
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(async move {
            // A dropped sender means the end, too.
            let stopped = async { drop(stopped.await) };
            if let Err(error) = Server::new(backend, options).run(listener, stopped).await {
                tracing::error!("the server in this process ended: {error}");
            }
        });
        Self { stop, ended }
    }
}

impl RunningOrigin {
    /// What to call it in output.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How many tokens the model takes and gives, as far as that is known.
    pub(crate) fn limits(&self) -> ModelLimits {
        self.limits
    }

    /// The engine in this process, if there is one.
    #[cfg(feature = "mlx")]
    pub(crate) fn engine(&self) -> Option<&dyn Backend> {
        self.engine.as_deref()
    }

    /// How much time the engine's prefix cache saved, in seconds. `None` without an engine in this process.
    pub(crate) fn saved_seconds(&self) -> Option<f64> {
        Some(self.engine.as_ref()?.cache()?.report()?.saved_seconds)
    }

    /// How many requests each backend of a chain answered, a line each.
    pub(crate) fn answered(&self) -> Vec<String> {
        let answered = self.chain.iter().flat_map(|chain| chain.answered());
        answered.map(|(name, requests)| format!("{name} answered {requests}")).collect()
    }

    /// What trimming the prompts saves, a line each. Empty if they are not trimmed or no request had tools.
    pub(crate) async fn savings(&self) -> Vec<String> {
        let savings = match &self.trimmed {
            Some(TrimmedPrompts::Here(backend)) => backend.savings().await,
            Some(TrimmedPrompts::Elsewhere(bodies)) => bodies.savings(),
            None => None,
        };
        let Some(TrimSavings { tools, tokens, absent }) = savings else { return Vec::new() };
        let fewer = 100 - 100 * tokens.1 / tokens.0.max(1);
        let mut lines = vec![format!(
            "prompt trimmed: {} tools to {}, {} tokens to {} ({fewer}% fewer)",
            tools.0,
            tools.1,
            grouped(tokens.0),
            grouped(tokens.1)
        )];
        if !absent.is_empty() {
            lines.push(format!("the client has no tool named {}", absent.join(" or ")));
        }
        lines
    }

    /// Stops the server in this process in good order, and the engine with it.
    pub(crate) async fn stop(self) {
        if let Some(OwnServer { stop, ended }) = self.server {
            // Both fail only if the server has ended by itself, which it has reported.
            stop.send(()).ok();
            ended.await.ok();
        }
    }
}
