//! `anyclaude model`: pulling models from the hub, and listing those that are there.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use console::style;
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use tabled::builder::Builder;
use tabled::settings::Style;

use super::local_model::{ModelFolder, in_words};
use super::signals::{self, Signals, exit_code_of};
use super::text::trimmed_lines;
use super::{CliError, blocking, print, say};
use crate::hub::{self, HubCache, HubClient, ModelName, PullProgress};

/// Pull models from Hugging Face's hub, and list those that are there
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude model pull mlx-community/Qwen3-4B-4bit
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
    /// Get a model, or the missing rest of one
    #[command(after_help = "\
Examples:
  anyclaude model pull mlx-community/Qwen3-4B-4bit
  HF_ENDPOINT=https://hub.example.com anyclaude model pull mlx-community/Qwen3-4B-4bit")]
    Pull {
        /// The model's name at the hub
        #[arg(value_name = "ORGANISATION/NAME")]
        name: ModelName,
    },
    /// List the models that are there, also those of other tools
    #[command(after_help = "\
Example:
  anyclaude model ls")]
    Ls,
}

/// Runs the command.
pub(super) async fn run(args: ModelArgs) -> Result<ExitCode, CliError> {
    match args.command {
        ModelCommand::Pull { name } => pull(&name).await,
        ModelCommand::Ls => blocking(list).await,
    }
}

/// Pulls a model. A Ctrl-C keeps what has come so far.
async fn pull(name: &ModelName) -> Result<ExitCode, CliError> {
    let (hub, cache) = (HubClient::from_env()?, HubCache::from_env()?);
    let mut signals = Signals::listen(&signals::ENDING).map_err(CliError::backend)?;
    let started = Instant::now();
    let bar = bar(name);
    let tell = |progress| match progress {
        PullProgress::Total(bytes) => bar.set_length(bytes),
        PullProgress::Got(bytes) => bar.inc(bytes),
        PullProgress::Lost(bytes) => bar.dec(bytes),
    };
    let pulled = tokio::select! {
        pulled = hub::pull(&hub, &cache, name, &tell) => pulled,
        signal = signals.next() => {
            bar.finish_and_clear();
            say(format_args!("stopped at {}; pull again to go on from there", DecimalBytes(bar.position())));
            return Ok(ExitCode::from(exit_code_of(signal)));
        }
    };
    bar.finish_and_clear();
    let (folder, size) = (pulled?, DecimalBytes(bar.position()));
    say(format_args!("pulled {size} in {:.1} s; run it with: anyclaude --model {name}", started.elapsed().as_secs_f64()));
    print(&format!("{}\n", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// A progress bar; without a terminal, a line and a hidden bar.
fn bar(name: &ModelName) -> ProgressBar {
    if !console::user_attended_stderr() {
        say(format_args!("pulling {name}"));
        return ProgressBar::hidden();
    }
    // The test below parses the template.
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(0).with_style(style).with_message(format!("pulling {name}"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

const TEMPLATE: &str = "{spinner} {msg} {wide_bar} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";

/// Prints a line for each model. Models that cannot be served are listed with the reason.
fn list() -> Result<ExitCode, CliError> {
    let models = HubCache::from_env()?.models()?;
    if models.is_empty() {
        say("no models; get one with: anyclaude model pull ORGANISATION/NAME");
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = Builder::default();
    for (name, snapshot) in models {
        let name = name.to_string();
        match ModelFolder::inspect(&snapshot) {
            Ok(ModelFolder { kind, parameters, weight_bytes, .. }) => {
                let parameters = format!("{} parameters", in_words(parameters));
                rows.push_record([name, kind, parameters, DecimalBytes(weight_bytes).to_string()]);
            }
            Err(error) => rows.push_record([name, style(error).dim().to_string(), String::new(), String::new()]),
        }
    }
    print(&trimmed_lines(&rows.build().with(Style::empty()).to_string()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_parses() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
