//! The command line: clap types, one short function per command, and the one place where errors are printed.

mod check;
mod child;
mod config;
mod doctor;
mod launch;
mod model;
mod model_folder;
mod output;
mod record;
mod replay;
mod review;
mod schema;
#[cfg(feature = "mlx")]
mod serve;
mod trace;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::output::{print, say, unless_reader_left};

/// Run Claude Code on any model; record its sessions, replay them, and know whether tool calling still works.
///
/// Without a command: starts what the mode needs and runs the client on it.
#[derive(Parser, Debug)]
#[command(version, about, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    launch: launch::Args,
}

const EXAMPLES: &str = "\
Examples:
  anyclaude --model fixtures/models/tiny                      Claude Code on a local model
  anyclaude --mode claude --record -- -p \"Read hello.txt\"     record the reference
  anyclaude serve --model fixtures/models/tiny --port 8081
  anyclaude record --upstream http://127.0.0.1:8081 -- claude -p \"Read hello.txt\"
  anyclaude replay traces/
  anyclaude review

Set ANYCLAUDE_DEBUG=1, 2 or 3 for more and more detail on stderr.";

#[derive(Subcommand, Debug)]
enum Command {
    #[cfg(feature = "mlx")]
    Serve(serve::Args),
    Record(record::Args),
    Replay(replay::Args),
    Review(review::Args),
    Trace(trace::Args),
    Model(model::Args),
    Doctor(doctor::Args),
    Check(check::Args),
    Config(config::Args),
    Schema(schema::Args),
}

/// What ends a command early: what to tell the user, and the exit code.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Wrong usage, or input that cannot be read. Exit code 2.
    #[error("{0}")]
    Input(String),
    /// A backend, an upstream or the machine failed. Exit code 3.
    #[error("{0}")]
    Backend(String),
}

impl CliError {
    /// Exit code 2: wrong usage or unreadable input.
    pub fn input(error: impl Display) -> Self {
        Self::Input(error.to_string())
    }

    /// Exit code 3: a backend failed.
    pub fn backend(error: impl Display) -> Self {
        Self::Backend(error.to_string())
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Backend(_) => 3,
        }
    }
}

/// Parses the command line, runs the command, prints its error.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => error.exit(),
        Err(help) => {
            return unless_reader_left(help.print()).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS);
        }
    };
    set_up_logging();
    #[cfg(feature = "mlx")]
    if matches!(cli.command, Some(Command::Serve(_)))
        && let Err(error) = serve::heap::fix_threshold()
    {
        return failed(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(format_args!("error: cannot start the async runtime: {error}"));
            return ExitCode::from(3);
        }
    };
    let outcome = runtime.block_on(run(cli));
    // A blocked read of standard input must not keep the process.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| failed(&error))
}

fn failed(error: &CliError) -> ExitCode {
    let label = console::style("error:").red().bold().for_stderr();
    say(format_args!("{label} {error}"));
    ExitCode::from(error.exit_code())
}

async fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let Some(command) = cli.command else { return launch::run(cli.launch).await };
    match command {
        #[cfg(feature = "mlx")]
        Command::Serve(args) => serve::run(args).await,
        Command::Record(args) => record::run(args).await,
        Command::Replay(args) => replay::run(args).await,
        Command::Review(args) => review::run(args).await,
        Command::Trace(args) => trace::run(args).await,
        Command::Model(args) => model::run(args).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Config(args) => config::run(args),
        Command::Schema(args) => schema::run(args).await,
    }
}

/// `ANYCLAUDE_DEBUG` 1: requests and timings; 2: plus conversions; 3: plus bodies. On stderr.
fn set_up_logging() {
    let level = match std::env::var("ANYCLAUDE_DEBUG").as_deref() {
        Ok("1") => "anyclaude=info",
        Ok("2") => "anyclaude=debug",
        Ok("3") => "anyclaude=trace",
        _ => "anyclaude=warn",
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .with_ansi(console::colors_enabled_stderr())
        .with_target(false)
        .log_internal_errors(false)
        .init();
}

/// Whether the environment says that no person is watching.
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}
