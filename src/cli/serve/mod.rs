//! `anyclaude serve`: the Messages API on a model folder.

pub(super) mod heap;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::allow::AllowArgs;
use super::client_limits::client_limits;
use super::local_model::{self, CacheArgs, OutputArgs};
use super::signals;
use super::text::grouped;
use super::{CliError, blocking, choices, keys, say};
use crate::backend::mlx::MlxBackend;
use crate::backend::{Backend, CacheControl, ModelLimits};
use crate::engine::decode::ToolFormatName;
use crate::engine::{ComputePath, EngineOptions};
use crate::server::{Server, ServerOptions};
use crate::wire::MessagesRequest;

/// The variable that stands in for `--api-key`, and does not show in a list of processes.
const API_KEY: &str = "ANYCLAUDE_API_KEY";

/// Serve a model folder as the Anthropic Messages API, for Claude Code and the SDKs
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeArgs {
    /// Model folder in Hugging Face layout (config.json, *.safetensors, tokenizer.json, tokenizer_config.json), or the name of a
    /// pulled model, or tiny, which is in this program
    #[arg(long, value_name = "DIR|NAME")]
    model: PathBuf,
    /// Address to listen on. One that other machines reach needs --api-key
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 picks a free one
    #[arg(long, default_value_t = 8081)]
    port: u16,
    /// Key that clients must send, as x-api-key or as bearer token [default: none is asked for]
    #[arg(long, value_name = "KEY", env = API_KEY, hide_env_values = true)]
    api_key: Option<String>,
    #[command(flatten)]
    allow: AllowArgs,
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

const EXAMPLES: &str = "\
Examples:
  anyclaude serve --model tiny
  anyclaude serve --model mlx-community/Qwen3-4B-4bit --cache-dir ~/.cache/anyclaude

Then, in another terminal:
  ANTHROPIC_BASE_URL=http://127.0.0.1:8081 ANTHROPIC_API_KEY=local claude";

/// What the first signal is answered.
const STOPPING: &str = "stopping: answers in flight get a few seconds; once more to stop at once";

/// Loads the model, serves until Ctrl-C or SIGTERM, sums up.
pub(super) async fn run(args: ServeArgs) -> Result<ExitCode, CliError> {
    let ServeArgs { model, host, port, api_key, allow, cache, output, tool_format, compute_path } = args;
    let api_key = checked_key(api_key)?;
    let folder = blocking(move || local_model::find(&model).map_err(CliError::input)).await?;
    let listener = bind(&host, port).await?;
    let address = listener.local_addr().map_err(CliError::backend)?;
    if !address.ip().is_loopback() && api_key.is_none() {
        let reason = "can be reached from other machines: set --api-key, so that not everybody there can use it";
        return Err(CliError::input(format!("--host {host} {reason}")));
    }
    let (limits, disk, output) = (cache.limits(), cache.disk(None), output.limits());
    let options = EngineOptions { cache: limits, disk, output, tool_format, compute_path, ..EngineOptions::default() };
    let warm_up_request = blocking(move || cache.warm_up(Path::new("traces"))).await?;
    let backend = Arc::new(local_model::load(folder, options).await?);
    // Before the address is announced: whoever reads it may stop us at once.
    let stop = signals::stop(&signals::STOPPING, || say(STOPPING)).map_err(CliError::backend)?;
    announce(address, api_key.as_deref(), backend.limits().await);
    let warm_up = warm_up_request.map(|request| start_warm_up(backend.clone(), request));
    // Clients that were given the name that we listen on may use it.
    let mut allowed = allow.allowed();
    allowed.hosts.extend(host.parse());
    let options = ServerOptions { api_key, allowed, ..ServerOptions::default() };
    let server = Server::new(backend, options);
    let served = server.run(listener, stop).await;
    if let Some(warm_up) = warm_up {
        // It holds the engine, which must end before the process does.
        warm_up.abort();
        drop(warm_up.await);
    }
    served.map_err(|error| CliError::backend(format!("{address}: {error}")))?;
    if let Some(report) = server.cache_report() {
        say(format_args!("cache: {report}"));
    }
    say(format_args!("served {}", server.totals()));
    Ok(ExitCode::SUCCESS)
}

/// The key that clients must send, if one is set.
fn checked_key(given: Option<String>) -> Result<Option<String>, CliError> {
    let Some(key) = given else { return Ok(None) };
    let source = if std::env::var(API_KEY).as_deref() == Ok(&key) { API_KEY } else { "--api-key" };
    keys::sendable(key, source)
}

async fn bind(host: &str, port: u16) -> Result<TcpListener, CliError> {
    // As in a URL, an IPv6 address may stand in brackets.
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    TcpListener::bind((address, port)).await.map_err(|error| {
        CliError::backend(match error.kind() {
            ErrorKind::AddrInUse => {
                format!("{host}:{port} is in use: stop what listens there, or choose another port with --port (0: any free one)")
            }
            _ => format!("cannot listen on {host}:{port}: {error}; choose another address with --host or --port"),
        })
    })
}

fn announce(address: SocketAddr, api_key: Option<&str>, limits: ModelLimits) {
    let key = if api_key.is_some() { "<the key>" } else { "local" };
    say(format_args!("listening on http://{address}"));
    say(format_args!("point Claude Code at it with: ANTHROPIC_BASE_URL=http://{address} ANTHROPIC_API_KEY={key} claude"));
    if let Some(context) = limits.context {
        let variables: String = client_limits(limits).iter().map(|(name, value)| format!(" {name}={value}")).collect();
        say(format_args!("for its context of {} tokens set also:{variables}", grouped(context)));
    }
}

/// Computes the tools and system prompt of a request in the background.
fn start_warm_up(backend: Arc<MlxBackend>, request: MessagesRequest) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = backend.warm_up(request).await {
            tracing::warn!("the warm-up failed: {error}");
        }
    })
}
