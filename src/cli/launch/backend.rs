//! The backend that answers: of one mode, or of several in a chain.

use std::sync::Arc;

use super::modes::AnswerSource;
use crate::backend::fallback::FallbackBackend;
use crate::backend::{Backend, TimeLimits};
use crate::cli::{CliError, say};
use crate::config::{Mode, Settings};

/// What answers, connected.
pub(crate) struct LaunchBackend {
    /// The one backend, or the chain.
    pub backend: Arc<dyn Backend>,
    /// The same backend, if it is a chain: it counts the answers of each of its backends.
    pub chain: Option<Arc<FallbackBackend>>,
    /// The engine in this process, if it is the backend or part of the chain.
    pub engine: Option<Arc<dyn Backend>>,
}

impl LaunchBackend {
    /// Connects the sources, which are in the order in which they are to be asked. Of several, those that are down now are left
    /// out.
    pub(crate) async fn connect(sources: Vec<(Mode, AnswerSource)>, settings: &Settings) -> Result<Self, CliError> {
        let is_chain = sources.len() > 1;
        let (mut links, mut engine, mut last_error) = (Vec::new(), None, None);
        for (mode, source) in sources {
            match source.connect(settings, TimeLimits::default()).await {
                Ok(backend) => {
                    engine = engine.or_else(|| (mode == Mode::Mlx).then(|| backend.clone()));
                    links.push(backend);
                }
                Err(error @ (CliError::Backend(_) | CliError::Unreachable(_))) if is_chain => {
                    say(format_args!("going on without mode {}: {error}", mode.name()));
                    last_error = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match (links.pop(), last_error) {
            (None, error) => Err(error.unwrap_or_else(|| CliError::input("no mode is set"))),
            (Some(backend), _) if !is_chain => Ok(Self { backend, chain: None, engine }),
            (Some(last), _) => {
                links.push(last);
                let chain = Arc::new(FallbackBackend::new(links));
                Ok(Self { backend: chain.clone(), chain: Some(chain), engine })
            }
        }
    }
}
