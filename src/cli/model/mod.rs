//! `anyclaude model`: pulling models from the hub, listing those that are there, and checking that one works.

#[cfg(feature = "mlx")]
mod check;
mod list;
mod pull;

use std::process::ExitCode;

use super::{CliError, blocking};
use crate::hub::ModelName;

/// Pull models from Hugging Face's hub, list those that are there, check that one works
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude model pull mlx-community/Qwen3-4B-4bit
  anyclaude model check mlx-community/Qwen3-4B-4bit
  anyclaude --model mlx-community/Qwen3-4B-4bit
  anyclaude model ls

Models are kept in the folder of Hugging Face's own tools, and models that those have pulled are found.
Set HF_HOME or HF_HUB_CACHE to use another folder, HF_ENDPOINT to use a mirror, HF_TOKEN to get models
that need an account.")]
pub(super) struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(clap::Subcommand, Debug)]
enum ModelCommand {
    /// Get a model, or the missing rest of one; says before whether it will run here
    #[command(after_help = "\
Examples:
  anyclaude model pull mlx-community/Qwen3-4B-4bit
  HF_ENDPOINT=https://hub.example.com anyclaude model pull mlx-community/Qwen3-4B-4bit")]
    Pull {
        /// The model's name at the hub
        #[arg(value_name = "ORGANISATION/NAME")]
        name: ModelName,
        /// Pull it even if its family does not run here
        #[arg(long)]
        anyway: bool,
    },
    /// List the models that are there, also those of other tools
    #[command(after_help = "\
Example:
  anyclaude model ls")]
    Ls,
    #[cfg(feature = "mlx")]
    Check(check::ModelCheckArgs),
}

/// Runs the command.
pub(super) async fn run(args: ModelArgs) -> Result<ExitCode, CliError> {
    match args.command {
        ModelCommand::Pull { name, anyway } => pull::run(&name, anyway).await,
        ModelCommand::Ls => blocking(list::run).await,
        #[cfg(feature = "mlx")]
        ModelCommand::Check(args) => check::run(args).await,
    }
}
