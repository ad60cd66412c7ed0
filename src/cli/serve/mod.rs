//! `anyclaude serve`: the Messages API on a model folder, or on recorded answers.

#[cfg(feature = "mlx")]
mod engine;
mod playback;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::allow::AllowArgs;
use super::client_limits::client_limits;
use super::signals;
use super::text::grouped;
use super::{CliError, keys, say, say_own_words};
use crate::backend::{Backend, ModelLimits};
use crate::config::ByteSize;
use crate::server::{Server, ServerOptions};
use crate::trace::redact::Redactor;

/// The variable that stands in for `--api-key`, and does not show in a list of processes.
const API_KEY: &str = "ANYCLAUDE_API_KEY";

/// Serve a model folder as the Anthropic Messages API, for Claude Code and the SDKs; or recorded answers, without a model
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeArgs {
    #[cfg(feature = "mlx")]
    #[command(flatten)]
    engine: engine::WithoutTraces,
    #[command(flatten)]
    playback: playback::PlaybackArgs,
    #[command(flatten)]
    listening: Listening,
}

/// Where to listen, and whom to answer.
#[derive(clap::Args, Debug)]
struct Listening {
    /// Address to listen on. One that other machines reach needs --api-key
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 picks a free one
    #[arg(long, default_value_t = 8081)]
    port: u16,
    /// Key that clients must send, as x-api-key or as bearer token [default: none is asked for]
    #[arg(long, value_name = "KEY", env = API_KEY, hide_env_values = true)]
    api_key: Option<String>,
    /// How much memory the bodies of requests may take at once, such as 1GB. What is beyond is answered with status 529. There is
    /// always room for one of 32 MiB
    #[arg(long, value_name = "SIZE", default_value = "256MB", value_parser = ByteSize::from_str)]
    request_memory: ByteSize,
    #[command(flatten)]
    allow: AllowArgs,
}

const EXAMPLES: &str = "\
Examples:
  anyclaude serve --model tiny
  anyclaude serve --model mlx-community/Qwen3-4B-4bit --cache-dir ~/.cache/anyclaude
  anyclaude serve --traces traces/read-file             what was recorded, without a model
  anyclaude serve --traces traces/ --speed 10           with a tenth of the recorded pauses
  anyclaude serve --traces traces/ --fault 529@1,cut@4  and what the client makes of failures

Then, in another terminal:
  ANTHROPIC_BASE_URL=http://127.0.0.1:8081 ANTHROPIC_API_KEY=local claude

Exit codes with --traces:
  0    every request was answered as recorded, by the server of --on-miss, or as --fault says
  1    a request had no recording and no answer: it got status 410 and what differs from the nearest one, or the error of the
       server of --on-miss";

/// What the first signal is answered.
const STOPPING: &str = "stopping: answers in flight get a few seconds; once more to stop at once";

/// Serves until Ctrl-C or SIGTERM.
pub(super) async fn run(args: ServeArgs, redactor: &Redactor) -> Result<ExitCode, CliError> {
    #[cfg(feature = "mlx")]
    if let Some(model) = args.engine.0.model.clone() {
        return engine::run(args.engine.0, model, args.listening).await;
    }
    playback::run(args.playback, args.listening, redactor).await
}

/// An address that is listened on already, and whom to answer there.
struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    options: ServerOptions,
}

impl Listening {
    /// Whether clients must send a key.
    fn asks_for_key(&self) -> Result<bool, CliError> {
        Ok(checked_key(self.api_key.clone())?.is_some())
    }

    async fn bind(self) -> Result<Bound, CliError> {
        let Self { host, port, api_key, request_memory, allow } = self;
        let api_key = checked_key(api_key)?;
        let listener = bind(&host, port).await?;
        let address = listener.local_addr().map_err(CliError::backend)?;
        if !address.ip().is_loopback() && api_key.is_none() {
            let reason = "can be reached from other machines: set --api-key, so that not everybody there can use it";
            return Err(CliError::input(format!("--host {host} {reason}")));
        }
        // Clients that were given the name that we listen on may use it.
        let mut allowed = allow.allowed();
        allowed.hosts.extend(host.parse());
        let request_memory = usize::try_from(request_memory.0).unwrap_or(usize::MAX);
        let options = ServerOptions { api_key, allowed, request_memory, ..ServerOptions::default() };
        Ok(Bound { listener, address, options })
    }
}

impl Bound {
    /// Says the address and answers there until Ctrl-C or SIGTERM; the server, for what it counted.
    async fn serve(self, backend: Arc<dyn Backend>) -> Result<Server, CliError> {
        let Self { listener, address, options } = self;
        // Before the address is announced: whoever reads it may stop us at once.
        let stop = signals::stop(&signals::STOPPING, || say(STOPPING)).map_err(CliError::backend)?;
        announce(address, options.api_key.as_deref(), backend.limits().await);
        let server = Server::new(backend, options);
        server.run(listener, stop).await.map_err(|error| CliError::backend(format!("{address}: {error}")))?;
        Ok(server)
    }
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

/// Says where the server listens and how Claude Code comes to it. All at once: who stops the server as soon as the first line is
/// read would else see the others after the words of the stop.
fn announce(address: SocketAddr, api_key: Option<&str>, limits: ModelLimits) {
    let key = if api_key.is_some() { "<the key>" } else { "local" };
    let mut lines = vec![
        format!("listening on http://{address}"),
        format!("point Claude Code at it with: ANTHROPIC_BASE_URL=http://{address} ANTHROPIC_API_KEY={key} claude"),
    ];
    if let Some(context) = limits.context {
        let variables: String = client_limits(limits).iter().map(|(name, value)| format!(" {name}={value}")).collect();
        lines.push(format!("for its context of {} tokens set also:{variables}", grouped(context)));
    }
    say_own_words(&lines.join("\n"));
}
