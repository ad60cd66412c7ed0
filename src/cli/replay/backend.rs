//! What a replay is driven against: the engine in this process, or a server.

use std::path::Path;
#[cfg(feature = "mlx")]
use std::path::PathBuf;

use reqwest::Url;
use reqwest::header::HeaderValue;

use super::args::ReplayArgs;
use crate::backend::remote::RemoteBackend;
use crate::backend::{Backend, BackendError};
use crate::cli::CliError;
#[cfg(feature = "mlx")]
use crate::cli::{blocking, local_model};
use crate::replay::Plan;
use crate::snapshot::ModelDigest;

/// What answers.
pub(super) struct Answerer {
    pub backend: Box<dyn Backend>,
    /// How its model writes tool calls; `messages` where a server hides it.
    pub tool_format: &'static str,
    /// Fingerprints of the model, if its files are here.
    pub digest: Option<ModelDigest>,
}

impl Answerer {
    fn server(backend: RemoteBackend) -> Self {
        Self { backend: Box::new(backend), tool_format: "messages", digest: None }
    }
}

/// The backend that `--backend` means. A server gets the `anthropic-beta` names that the traces were recorded with. If margins are
/// wanted, it is asked whether it can tell them of the model.
pub(super) async fn connect(args: &ReplayArgs, plan: &Plan) -> Result<Answerer, CliError> {
    if args.is_in_process() {
        return in_process(args).await;
    }
    if !Url::parse(&args.backend).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
        let given = &args.backend;
        return Err(CliError::input(format!("--backend {given}: neither `mlx` nor a URL that starts with http:// or https://")));
    }
    let mut backend = RemoteBackend::within(&args.backend, args.limits.limits()).await.map_err(backend_error)?;
    if let (true, Some(case)) = (args.wants_margins(), plan.cases.first()) {
        backend = backend.with_log_probabilities(&case.request.model).await;
    }
    if plan.betas.is_empty() {
        return Ok(Answerer::server(backend));
    }
    let names = HeaderValue::from_str(&plan.betas.join(","));
    let names = names.map_err(|error| CliError::input(format!("anthropic-beta of the traces: {error}; record them again")))?;
    Ok(Answerer::server(backend.with_betas(names)))
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
    Ok(Answerer { tool_format: backend.tool_format().name(), digest: Some(digest), backend: Box::new(backend) })
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
