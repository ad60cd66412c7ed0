//! `anyclaude serve`: the Messages API on a model folder.

pub(super) mod cache_args;
pub(super) mod heap;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use console::style;
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use self::cache_args::CacheArgs;
use super::model_folder::{self, ModelFolder};
use super::{CliError, say};
use crate::backend::mlx::MlxBackend;
use crate::engine::decode::ToolFormatName;
use crate::engine::{EngineOptions, LoadListener, LoadProgress};
use crate::server::{Server, ServerOptions};

/// Serve a model folder as the Anthropic Messages API, for Claude Code and the SDKs
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Model folder in Hugging Face layout (config.json, *.safetensors, tokenizer.json, tokenizer_config.json), or the name of a
    /// pulled model
    #[arg(long, value_name = "DIR|NAME")]
    model: PathBuf,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 picks a free one
    #[arg(long, default_value_t = 8081)]
    port: u16,
    /// Key that clients must send as x-api-key or bearer token [default: none is asked for]
    #[arg(long, value_name = "KEY", env = "ANYCLAUDE_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    #[command(flatten)]
    cache: CacheArgs,
    /// How the model writes tool calls [default: as its chat template does]
    #[arg(long, value_enum, value_name = "FORMAT")]
    tool_format: Option<ToolFormatName>,
}

const EXAMPLES: &str = "\
Examples:
  anyclaude serve --model fixtures/models/tiny
  ANTHROPIC_BASE_URL=http://127.0.0.1:8081 ANTHROPIC_API_KEY=local claude";

/// Loads the model, serves until Ctrl-C or SIGTERM, sums up.
pub async fn run(args: Args) -> Result<ExitCode, CliError> {
    let model = ModelFolder::find(&args.model).map_err(CliError::input)?;
    let listener = bind(&args.host, args.port).await?;
    let address = listener.local_addr().map_err(CliError::backend)?;
    let api_key = args.api_key.filter(|key| !key.is_empty());
    if !address.ip().is_loopback() && api_key.is_none() {
        let label = style("warning:").yellow().bold().for_stderr();
        say(format_args!("{label} {address} can be reached from other machines and no key is asked for: set --api-key"));
    }
    let warm_up = args.cache.warm_up(Path::new("traces"))?;
    let (cache, disk, tool_format) = (args.cache.limits(), args.cache.disk(None), args.tool_format);
    let options = EngineOptions { cache, disk, tool_format, ..EngineOptions::default() };
    let backend = Arc::new(load(model, options).await?);
    // Before anything is announced: who reads the address may stop us at once.
    let stop = stop_signal().map_err(CliError::backend)?;
    announce(address, api_key.is_some());
    let warming = warm_up.map(|request| {
        let backend = backend.clone();
        tokio::spawn(async move { cache_args::warm_up(&backend, request).await })
    });
    let server = Server::new(backend, ServerOptions { api_key, ..ServerOptions::default() });
    let served = server.run(listener, stop).await;
    // It holds the engine, which must end before the process does.
    if let Some(warming) = warming {
        warming.abort();
        drop(warming.await);
    }
    served.map_err(|error| CliError::backend(format!("{address}: {error}")))?;
    if let Some(report) = server.cache_report() {
        say(format_args!("cache: {report}"));
    }
    say(format_args!("served {}", server.totals()));
    Ok(ExitCode::SUCCESS)
}

async fn bind(host: &str, port: u16) -> Result<TcpListener, CliError> {
    TcpListener::bind((host, port)).await.map_err(|error| {
        CliError::backend(match error.kind() {
            ErrorKind::AddrInUse => {
                format!("{host}:{port} is in use: stop what listens there, or choose another port with --port (0: any free one)")
            }
            _ => format!("cannot listen on {host}:{port}: {error}; choose another address with --host or --port"),
        })
    })
}

/// Loads the model, saying so meanwhile.
pub(super) async fn load(folder: PathBuf, options: EngineOptions) -> Result<MlxBackend, CliError> {
    let started = Instant::now();
    let progress = Loading::start(&folder);
    let options = EngineOptions { on_load: progress.listener(), ..options };
    let loaded = model_folder::load(folder, options).await;
    progress.end();
    let backend = loaded?;
    say(format_args!("loaded in {:.1} s", started.elapsed().as_secs_f64()));
    Ok(backend)
}

/// A bar on a terminal, plain lines elsewhere.
struct Loading(ProgressBar);

impl Loading {
    fn start(folder: &Path) -> Self {
        let message = format!("loading {}", folder.display());
        if !console::user_attended_stderr() {
            say(message);
            return Self(ProgressBar::hidden());
        }
        // The template is fixed: it has no mistake to report.
        let style = ProgressStyle::with_template("{spinner} {msg} {decimal_bytes} of {decimal_total_bytes}");
        let bar = ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar.with_message(message))
    }

    /// Moves the bar, and says before the first weight is read how much memory they need, if that is not plain.
    fn listener(&self) -> LoadListener {
        let bar = self.0.clone();
        LoadListener::new(move |LoadProgress { read, total, memory }| {
            if read == 0 && memory > total {
                let (memory, total) = (DecimalBytes(memory), DecimalBytes(total));
                bar.suspend(|| say(format_args!("weights are computed in f32 here: {memory} in memory, {total} on disk")));
            }
            bar.set_length(total);
            bar.set_position(read);
        })
    }

    fn end(self) {
        self.0.finish_and_clear();
    }
}

fn announce(address: SocketAddr, with_key: bool) {
    let key = if with_key { "<the key>" } else { "local" };
    say(format_args!("listening on http://{address}"));
    say(format_args!("point Claude Code at it with: ANTHROPIC_BASE_URL=http://{address} ANTHROPIC_API_KEY={key} claude"));
}

/// Completes on the first Ctrl-C or SIGTERM; the next one ends the process at once.
fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let (stop, stopped) = oneshot::channel();
    let mut signals = Signals::listen()?;
    tokio::spawn(async move {
        signals.next().await;
        say("stopping: answers in flight get a few seconds; once more to stop at once");
        // Fails only where the server has already ended.
        let _ = stop.send(());
        signals.next().await;
        std::process::exit(130);
    });
    Ok(async {
        // The sender is never dropped before it has sent.
        let _ = stopped.await;
    })
}

/// The signals that ask a server to stop.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
