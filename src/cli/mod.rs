//! The command line: one module per command, and the one place where errors are printed.
//!
//! A command's module holds its arguments and what it does with them. What several commands need has modules of its own:
//! [`error`] (exit codes), [`output`] (printing), [`destination`] (files that options name), [`log`], [`environment`], [`blocking`],
//! [`text`] (figures as people read them), [`choices`] (values of flags), [`allow`] (who may use a port), [`keys`], [`signals`],
//! [`child`] (the client as our child process), [`local_model`] (the model in this process) and [`snapshots_folder`].

mod allow;
mod answerer;
mod blocking;
mod check;
mod child;
mod choices;
mod client_limits;
mod compare;
mod completions;
mod config;
mod destination;
mod doctor;
mod environment;
mod error;
mod heap;
mod init;
mod keys;
mod launch;
mod load;
mod local_model;
mod log;
mod model;
mod output;
mod record;
mod replay;
mod report;
mod review;
mod schema;
mod serve;
mod signals;
mod snapshots_folder;
mod text;
mod trace;
mod visible;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::blocking::blocking;
use self::destination::Destination;
pub use self::error::CliError;
use self::output::{print, print_to_stderr, say, say_own_words, unless_reader_left, unprintable};
use crate::trace::redact::Redactor;

/// Run Claude Code on any model; record its sessions, replay them, and know whether tool calling still works.
///
/// Without a command, anyclaude starts whatever the mode needs and runs the client on it.
#[derive(Parser, Debug)]
#[command(version, about, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<CliCommand>,
    #[command(flatten)]
    launch: launch::LaunchArgs,
}

const EXAMPLES: &str = "\
Examples:
  anyclaude --model tiny                                      Claude Code on a local model
  anyclaude --mode claude --record -- -p \"Read hello.txt\"     record the reference
  anyclaude serve --model tiny --port 8081
  anyclaude record --upstream http://127.0.0.1:8081 -- claude -p \"Read hello.txt\"
  anyclaude replay traces/
  anyclaude review

Set ANYCLAUDE_DEBUG=1, 2 or 3 for more and more detail on stderr.";

#[derive(Subcommand, Debug)]
enum CliCommand {
    Serve(Box<serve::ServeArgs>),
    Record(record::RecordArgs),
    Replay(Box<replay::ReplayArgs>),
    Load(Box<load::LoadArgs>),
    Report(report::ReportArgs),
    Compare(compare::CompareArgs),
    Review(review::ReviewArgs),
    Trace(trace::TraceArgs),
    Model(model::ModelArgs),
    Doctor(doctor::DoctorArgs),
    Check(check::CheckArgs),
    Init(init::InitArgs),
    Config(config::ConfigArgs),
    Schema(schema::SchemaArgs),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
}

impl CliCommand {
    /// Whether it writes what is redacted, so that it does nothing without the user's patterns.
    fn redacts(&self) -> bool {
        match self {
            Self::Serve(_) | Self::Record(_) | Self::Replay(_) | Self::Load(_) | Self::Trace(_) | Self::Check(_) => true,
            Self::Report(_) | Self::Compare(_) | Self::Review(_) | Self::Model(_) | Self::Doctor(_) => false,
            Self::Config(_) | Self::Schema(_) | Self::Init(_) | Self::Completions(_) | Self::Man(_) => false,
        }
    }
}

/// Parses the command line, runs the command, prints its error.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => error.exit(),
        Err(help) => return unless_reader_left(help.print(), unprintable).map_or_else(failed, |()| ExitCode::SUCCESS),
    };
    // First of all, as it begins anew.
    if matches!(cli.command, None | Some(CliCommand::Serve(_) | CliCommand::Record(_)))
        && let Err(error) = heap::fix_threshold()
    {
        return failed(error);
    }
    if let Err(error) = signals::outlive_file_limit() {
        return failed(CliError::backend(format!("cannot catch a signal: {error}")));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(CliError::backend(format!("cannot start the async runtime: {error}"))),
    };
    let outcome = runtime.block_on(run(cli));
    // A thread that still waits for standard input must not keep the process alive.
    runtime.shutdown_background();
    outcome.unwrap_or_else(failed)
}

fn failed(error: CliError) -> ExitCode {
    let label = console::style("error:").red().bold().for_stderr();
    say(format_args!("{label} {error}"));
    ExitCode::from(error.exit_code())
}

/// Runs the command. Nothing that it logs or fails with has secrets.
async fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let load = || Ok(Redactor::new(&crate::config::load(&serde_json::Map::new())?.settings.redact.patterns));
    let redactor = match blocking(load).await {
        Err(error) if cli.command.as_ref().is_none_or(CliCommand::redacts) => return Err(error),
        // Other commands say what is wrong with the settings, or need none.
        loaded => loaded.unwrap_or_default(),
    };
    redactor.clone().install();
    log::set_up(redactor.clone());
    dispatch(cli, redactor).await
}

async fn dispatch(cli: Cli, redactor: Redactor) -> Result<ExitCode, CliError> {
    let Some(command) = cli.command else { return launch::run(cli.launch, &redactor).await };
    match command {
        CliCommand::Serve(args) => serve::run(*args, &redactor).await,
        CliCommand::Record(args) => record::run(args, &redactor).await,
        CliCommand::Replay(args) => replay::run(*args, &redactor).await,
        CliCommand::Load(args) => load::run(*args).await,
        CliCommand::Report(args) => blocking(move || report::run(args)).await,
        CliCommand::Compare(args) => blocking(move || compare::run(&args)).await,
        CliCommand::Review(args) => blocking(move || review::run(&args)).await,
        CliCommand::Trace(args) => blocking(move || trace::run(args, &redactor)).await,
        CliCommand::Model(args) => model::run(args).await,
        CliCommand::Doctor(args) => doctor::run(args).await,
        CliCommand::Check(args) => check::run(args, &redactor).await,
        CliCommand::Config(args) => blocking(move || config::run(&args)).await,
        CliCommand::Schema(args) => blocking(move || schema::run(&args)).await,
        CliCommand::Init(args) => blocking(move || init::run(args)).await,
        CliCommand::Completions(args) => completions::completions(&args),
        CliCommand::Man(args) => blocking(move || completions::man(&args)).await,
    }
}
