//! What a replay is driven against: the engine in this process, or a server.

use std::path::Path;
#[cfg(feature = "mlx")]
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::Url;
use reqwest::header::HeaderValue;

use super::args::ReplayArgs;
use crate::backend::remote::RemoteBackend;
use crate::backend::{Backend, BackendError};
use crate::cli::CliError;
use crate::cli::launch::AnswerSource;
#[cfg(feature = "mlx")]
use crate::cli::{blocking, local_model};
use crate::config::{Mode, ModeSettings, Settings};
use crate::replay::Plan;
use crate::snapshot::ModelDigest;

/// What answers.
pub(super) struct Answerer {
    pub backend: Arc<dyn Backend>,
    /// How its model writes tool calls; the protocol where a server hides it.
    pub tool_format: &'static str,
    /// Fingerprints of the model, if its files are here.
    pub digest: Option<ModelDigest>,
}

/// What `--backend` means.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    /// The engine in this process.
    InProcess,
    /// A server that speaks the Messages API.
    Messages { base_url: &'a str },
    /// What a mode of the launcher answers with; its server may be elsewhere.
    Mode { mode: Mode, base_url: Option<&'a str> },
}

impl<'a> Target<'a> {
    fn parse(text: &'a str) -> Result<Self, CliError> {
        let is_url = |text: &str| Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if text == Mode::Mlx.name() {
            return Ok(Self::InProcess);
        }
        if is_url(text) {
            return Ok(Self::Messages { base_url: text });
        }
        let (name, base_url) = text.split_once(':').map_or((text, None), |(name, url)| (name, Some(url)));
        match Mode::ALL.into_iter().find(|mode| mode.name() == name) {
            Some(mode) if mode != Mode::Mlx && base_url.is_none_or(is_url) => Ok(Self::Mode { mode, base_url }),
            _ => {
                let modes = Mode::ALL.map(Mode::name).join(", ");
                let wanted =
                    format!("one of {modes}, alone or with `:` and a URL, or a URL that starts with http:// or https://");
                Err(CliError::input(format!("--backend {text}: what answers is {wanted}")))
            }
        }
    }
}

/// The model that the settings name for a mode which is the backend.
pub(super) fn configured_model(backend: &str, configured: &Settings) -> Option<String> {
    match Target::parse(backend) {
        Ok(Target::Mode { mode, .. }) => configured.of_mode(mode).model,
        _ => None,
    }
}

/// The backend that `--backend` means.
pub(super) async fn connect(args: &ReplayArgs, plan: &Plan, configured: &Settings) -> Result<Answerer, CliError> {
    let (mode, base_url) = match Target::parse(&args.backend)? {
        Target::InProcess => return in_process(args).await,
        Target::Messages { base_url } => return messages(base_url, args, plan).await,
        Target::Mode { mode, base_url } => (mode, base_url.map(str::to_owned)),
    };
    let base_url = base_url.or_else(|| configured.of_mode(mode).base_url);
    let settings = ModeSettings { model: args.model.clone(), base_url };
    if mode == Mode::Anthropic && settings.base_url.is_none() {
        return Err(CliError::input("--backend anthropic needs the address of a server: anthropic:URL, or just the URL"));
    }
    match AnswerSource::of(mode, settings)? {
        AnswerSource::Messages { base_url } => messages(&base_url, args, plan).await,
        source => {
            let backend = source.connect(configured, args.limits.limits()).await?;
            Ok(Answerer { backend, tool_format: "chat completions", digest: None })
        }
    }
}

/// A server that speaks the Messages API. It gets the `anthropic-beta` names that the traces were recorded with. If margins are
/// wanted, it is asked whether it can tell them of the model.
async fn messages(base_url: &str, args: &ReplayArgs, plan: &Plan) -> Result<Answerer, CliError> {
    let mut backend = RemoteBackend::within(base_url, args.limits.limits()).await.map_err(backend_error)?;
    if let (true, Some(case)) = (args.wants_margins(), plan.cases.first()) {
        backend = backend.with_log_probabilities(&case.request.model).await;
    }
    if !plan.betas.is_empty() {
        let names = HeaderValue::from_str(&plan.betas.join(","));
        let names =
            names.map_err(|error| CliError::input(format!("anthropic-beta of the traces: {error}; record them again")))?;
        backend = backend.with_betas(names);
    }
    Ok(Answerer { backend: Arc::new(backend), tool_format: "messages", digest: None })
}

#[cfg(feature = "mlx")]
async fn in_process(args: &ReplayArgs) -> Result<Answerer, CliError> {
    let folder = PathBuf::from(args.model.as_deref().unwrap_or(local_model::EMBEDDED));
    let folder = blocking(move || {
        let found = local_model::find(&folder);
        found.map_err(|error| CliError::input(format!("{error}; --model names the model's folder")))
    })
    .await?;
    let (tool_format, compute_path) = (args.tool_format, args.compute_path);
    let options = crate::engine::EngineOptions { tool_format, compute_path, ..Default::default() };
    let digest = blocking({
        let folder = folder.clone();
        move || local_model::digest(&folder).map_err(CliError::input)
    })
    .await?;
    let backend = local_model::load_silently(folder, options).await?;
    Ok(Answerer { tool_format: backend.tool_format().name(), digest: Some(digest), backend: Arc::new(backend) })
}

#[cfg(not(feature = "mlx"))]
async fn in_process(_args: &ReplayArgs) -> Result<Answerer, CliError> {
    Err(CliError::input("this build has no MLX engine; give a server with --backend URL"))
}

/// The error with what to do about it.
pub(super) fn backend_error(error: BackendError) -> CliError {
    match error {
        BackendError::Unreachable { .. } => CliError::backend(format!("{error}; is the server running?")),
        other => CliError::backend(other),
    }
}

/// The name of the model that answers, without this machine's folders.
pub(super) fn model_name(args: &ReplayArgs, backend: &dyn Backend) -> String {
    match &args.model {
        Some(asked_for) if !args.is_in_process() => asked_for.clone(),
        _ => {
            let name = backend.model();
            let path = Path::new(&name);
            let last = path.file_name().filter(|_| path.is_absolute());
            last.map(|last| last.to_string_lossy().into_owned()).unwrap_or(name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_the_engine_a_url_or_a_mode() {
        let url = "http://127.0.0.1:8000/v1";
        let with_url = format!("openai:{url}");
        for (text, target) in [
            ("mlx", Target::InProcess),
            (url, Target::Messages { base_url: url }),
            ("lmstudio", Target::Mode { mode: Mode::Lmstudio, base_url: None }),
            (with_url.as_str(), Target::Mode { mode: Mode::Openai, base_url: Some(url) }),
        ] {
            assert_eq!(Target::parse(text).unwrap(), target, "{text}");
        }
        for text in ["", "mlx:http://127.0.0.1", "openai:", "openai:8000", "ollama", "ftp://elsewhere", "Openai"] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }
}
