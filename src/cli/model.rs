//! `anyclaude model`: getting models from the hub, and seeing which are there.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use console::style;
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use tabled::builder::Builder;
use tabled::settings::Style;

use super::child::{Signals, exit_code_of};
use super::model_folder::{ModelFolder, in_words};
use super::{CliError, print, say};
use crate::hub::{self, HubCache, HubClient, HubError, ModelName, Progress};

/// Get models from Hugging Face's hub, and list those that are there
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude model pull mlx-community/Qwen3-4B-4bit
  anyclaude --model mlx-community/Qwen3-4B-4bit
  anyclaude model ls

Models are kept where Hugging Face's own tools keep them, and theirs are found. HF_HOME and HF_HUB_CACHE name another
folder, HF_ENDPOINT a mirror, HF_TOKEN who you are.")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Get a model, or what is missing of it
    Pull {
        /// Its name at the hub
        #[arg(value_name = "ORGANISATION/NAME")]
        name: ModelName,
    },
    /// List the models that are there
    Ls,
}

impl From<HubError> for CliError {
    fn from(error: HubError) -> Self {
        match error {
            HubError::NoSuchModel { .. }
            | HubError::NotAllowed { .. }
            | HubError::Gated { .. }
            | HubError::NoModel { .. }
            | HubError::NoHome => Self::input(error),
            HubError::Answered { .. }
            | HubError::Unreachable { .. }
            | HubError::Protocol { .. }
            | HubError::Damaged { .. }
            | HubError::Busy { .. }
            | HubError::Io { .. } => Self::backend(error),
        }
    }
}

/// Runs the command.
pub async fn run(args: Args) -> Result<ExitCode, CliError> {
    match args.action {
        Action::Pull { name } => pull(&name).await,
        Action::Ls => tokio::task::spawn_blocking(list).await.map_err(CliError::backend)?,
    }
}

/// Gets a model. A Ctrl-C leaves what has come.
async fn pull(name: &ModelName) -> Result<ExitCode, CliError> {
    let (hub, cache) = (HubClient::from_env()?, HubCache::from_env()?);
    let mut signals = Signals::listen().map_err(CliError::backend)?;
    let started = Instant::now();
    let bar = bar(name);
    let tell = |progress| match progress {
        Progress::Total(bytes) => bar.set_length(bytes),
        Progress::Got(bytes) => bar.inc(bytes),
        Progress::Lost(bytes) => bar.dec(bytes),
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

/// The bar of a pull; a line where there is no terminal.
fn bar(name: &ModelName) -> ProgressBar {
    if !console::user_attended_stderr() {
        say(format_args!("pulling {name}"));
        return ProgressBar::hidden();
    }
    // The template is a constant; the test beside it parses it.
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(0).with_style(style).with_message(format!("pulling {name}"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

const TEMPLATE: &str = "{spinner} {msg} {wide_bar} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";

/// Prints a line for each model. Other tools' models that cannot be served are there too, with the reason.
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
    let lines = rows.build().with(Style::empty()).to_string();
    print(&lines.lines().map(|line| format!("{}\n", line.trim())).collect::<String>())?;
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
