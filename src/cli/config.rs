//! `anyclaude config`: the settings that a launch would use, where they came from, and their schema.

use std::process::ExitCode;

use serde_json::{Map, Value};
use tabled::builder::Builder;
use tabled::settings::Style;

use super::{CliError, print};
use crate::config::{self, ConfigError};

/// Show the configuration and where each value came from; print its JSON Schema
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude config show
  anyclaude config schema > anyclaude.schema.json

Values come from, each over the one before:
  the defaults
  .anyclauderc.json, anyclaude.toml in the home folder
  .anyclauderc.json, anyclaude.toml in the project: this folder, or the nearest above that has one
  the environment: ANYCLAUDE_MODE, ANYCLAUDE_MODEL and so on
  the flags of `anyclaude`")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Print every value with the place it came from
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the configuration files, for editors
    Schema,
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::input(error)
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    match args.action {
        Action::Show { json } => show(json)?,
        Action::Schema => print(&format!("{:#}\n", config::schema().to_value()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(json: bool) -> Result<(), CliError> {
    let entries = config::load(&Map::new())?.entries();
    if json {
        let fields = entries.into_iter().map(|(key, value, from)| (key, serde_json::json!({ "value": value, "from": from })));
        return print(&format!("{:#}\n", Value::Object(fields.collect())));
    }
    let mut rows = Builder::default();
    for (key, value, from) in entries {
        rows.push_record([key, shown(&value), from]);
    }
    let lines = rows.build().with(Style::empty()).to_string();
    print(&lines.lines().map(|line| format!("{}\n", line.trim())).collect::<String>())
}

/// A value as one would write it on the command line.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
