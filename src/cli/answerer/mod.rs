//! What answers a command's requests: the engine in this process, or a server.

mod args;
mod asked;

use std::path::Path;
#[cfg(feature = "mlx")]
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::header::HeaderValue;

pub(crate) use self::args::BackendArgs;
pub(super) use self::asked::Asked;
use self::asked::Target;
use crate::backend::Backend;
use crate::backend::remote::RemoteBackend;
use crate::cli::CliError;
use crate::cli::launch::AnswerSource;
#[cfg(feature = "mlx")]
use crate::cli::{blocking, local_model};
use crate::config::{Mode, ModeSettings, Settings};
use crate::snapshot::ModelDigest;

/// What answers.
pub(super) struct Answerer {
    pub backend: Arc<dyn Backend>,
    /// How its model writes tool calls; the protocol where a server hides it.
    pub tool_format: &'static str,
    /// Fingerprints of the model, if its files are here.
    pub digest: Option<ModelDigest>,
}

/// What a command wants of a server beside answers.
pub(super) struct Wanted<'a> {
    /// The `anthropic-beta` names that it is sent.
    pub betas: &'a [String],
    /// The model of which it is asked how sure it is.
    pub margins_of: Option<&'a str>,
}

/// The backend that `--backend` means.
pub(super) async fn connect(
    asked: &Asked,
    args: &BackendArgs,
    wanted: &Wanted<'_>,
    configured: &Settings,
) -> Result<Answerer, CliError> {
    let (mode, base_url) = match &asked.backend.target {
        Target::InProcess => return in_process(asked.model.as_deref(), args).await,
        Target::Messages { base_url } => return messages(base_url, args, wanted).await,
        Target::Mode { mode, base_url } => (*mode, base_url.clone()),
    };
    let base_url = base_url.or_else(|| configured.of_mode(mode).base_url);
    let settings = ModeSettings { model: asked.model.clone(), base_url };
    if mode == Mode::Anthropic && settings.base_url.is_none() {
        return Err(CliError::input("--backend anthropic needs the address of a server: anthropic:URL, or just the URL"));
    }
    match AnswerSource::of(mode, settings)? {
        AnswerSource::Messages { base_url } => messages(&base_url, args, wanted).await,
        source => {
            let backend = source.connect(configured, args.limits.limits()).await?;
            Ok(Answerer { backend, tool_format: "chat completions", digest: None })
        }
    }
}

/// A server that speaks the Messages API. It gets the `anthropic-beta` names that the traces were recorded with. If margins are
/// wanted, it is asked whether it can tell them of the model.
async fn messages(base_url: &str, args: &BackendArgs, wanted: &Wanted<'_>) -> Result<Answerer, CliError> {
    let mut backend = RemoteBackend::within(base_url, args.limits.limits()).await?;
    if let Some(model) = wanted.margins_of {
        backend = backend.with_log_probabilities(model).await;
    }
    if !wanted.betas.is_empty() {
        let names = HeaderValue::from_str(&wanted.betas.join(","));
        let names =
            names.map_err(|error| CliError::input(format!("anthropic-beta of the traces: {error}; record them again")))?;
        backend = backend.with_betas(names);
    }
    Ok(Answerer { backend: Arc::new(backend), tool_format: "messages", digest: None })
}

#[cfg(feature = "mlx")]
async fn in_process(model: Option<&str>, args: &BackendArgs) -> Result<Answerer, CliError> {
    let folder = PathBuf::from(model.unwrap_or(local_model::EMBEDDED));
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
async fn in_process(_model: Option<&str>, _args: &BackendArgs) -> Result<Answerer, CliError> {
    Err(CliError::input("this build has no MLX engine; give a server with --backend URL"))
}

/// The name of the model that answers, without this machine's folders.
pub(super) fn model_name(asked: &Asked, backend: &dyn Backend) -> String {
    asked.model_to_send().map(str::to_owned).unwrap_or_else(|| {
        let name = backend.model();
        let path = Path::new(&name);
        let last = path.file_name().filter(|_| path.is_absolute());
        last.map(|last| last.to_string_lossy().into_owned()).unwrap_or(name)
    })
}

/// The name of this machine, as times on another one mean something else.
pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
