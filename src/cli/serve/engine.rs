//! A model's answers: the engine in this process.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use tokio::task::JoinHandle;

use super::Listening;
use crate::backend::CacheControl;
use crate::backend::mlx::MlxBackend;
use crate::cli::local_model::{self, CacheArgs, OutputArgs};
use crate::cli::{CliError, blocking, choices, say};
use crate::engine::decode::ToolFormatName;
use crate::engine::{ComputePath, EngineOptions};
use crate::wire::MessagesRequest;

/// [`EngineArgs`] that nobody gives together with recordings, which need no engine. Variables of the environment may be set for
/// other runs, so clap's conflicts, which count them, do not do.
#[derive(Debug)]
pub(super) struct WithoutTraces(pub EngineArgs);

impl Args for WithoutTraces {
    fn augment_args(command: Command) -> Command {
        EngineArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        EngineArgs::augment_args_for_update(command)
    }
}

impl FromArgMatches for WithoutTraces {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_given = |option: &Arg| matches.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine);
        let options = EngineArgs::augment_args(Command::new(""));
        let given = options.get_arguments().filter(|option| is_given(option)).find_map(Arg::get_long);
        match given.filter(|_| matches.value_source("traces").is_some()) {
            Some(name) => {
                let reason = format!("the argument '--traces <DIR>...' cannot be used with '--{name}'\n");
                Err(clap::Error::raw(ErrorKind::ArgumentConflict, reason))
            }
            None => EngineArgs::from_arg_matches(matches).map(Self),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// The model, and how it is run.
#[derive(Args, Debug)]
pub(super) struct EngineArgs {
    /// Model folder in Hugging Face layout (config.json, *.safetensors, tokenizer.json, tokenizer_config.json), or the name of a
    /// pulled model, or tiny, which is in this program
    #[arg(long, value_name = "DIR|NAME", required_unless_present = "traces")]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// How the model writes tool calls [default: as its chat template does]
    #[arg(long, value_name = "FORMAT", value_parser = choices::tool_format())]
    tool_format: Option<ToolFormatName>,
    /// How the engine computes [default: as MLX's device does it best]
    #[arg(long, value_name = "PATH", value_parser = choices::compute_path())]
    compute_path: Option<ComputePath>,
}

/// Loads the model, serves until Ctrl-C or SIGTERM, sums up.
pub(super) async fn run(args: EngineArgs, model: PathBuf, listening: Listening) -> Result<ExitCode, CliError> {
    let EngineArgs { cache, output, tool_format, compute_path, .. } = args;
    let folder = blocking(move || local_model::find(&model).map_err(CliError::input)).await?;
    let bound = listening.bind().await?;
    let (limits, disk, output) = (cache.limits(), cache.disk(None), output.limits());
    let options = EngineOptions { cache: limits, disk, output, tool_format, compute_path, ..EngineOptions::default() };
    let warm_up_request = blocking(move || cache.warm_up(Path::new("traces"))).await?;
    let backend = Arc::new(local_model::load(folder, options).await?);
    let warm_up = warm_up_request.map(|request| start_warm_up(backend.clone(), request));
    let served = bound.serve(backend).await;
    if let Some(warm_up) = warm_up {
        // It holds the engine, which must end before the process does.
        warm_up.abort();
        drop(warm_up.await);
    }
    let server = served?;
    if let Some(report) = server.cache_report() {
        say(format_args!("cache: {report}"));
    }
    say(format_args!("served {}", server.totals()));
    Ok(ExitCode::SUCCESS)
}

/// Computes the tools and system prompt of a request in the background.
fn start_warm_up(backend: Arc<MlxBackend>, request: MessagesRequest) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = backend.warm_up(request).await {
            tracing::warn!("the warm-up failed: {error}");
        }
    })
}
