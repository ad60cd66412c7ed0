//! `anyclaude config`: the settings that a launch would use, where each came from, and their schema.

use std::process::ExitCode;

use serde_json::{Map, Value};
use tabled::builder::Builder;
use tabled::settings::Style;

use super::text::trimmed_lines;
use super::{CliError, print};
use crate::config::{self, ConfigValue};
use crate::trace::redact::Redactor;

/// Show the configuration and where each value came from; print its JSON Schema
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude config show
  anyclaude config schema > anyclaude.schema.json

Later places win over earlier ones:
  the defaults
  .anyclauderc.json, anyclaude.toml in the home folder
  .anyclauderc.json, anyclaude.toml in the project: this folder, or the nearest one above that has either; they cannot
    set where keys go, what is deleted, where the prefix cache is or which program runs; they add to [redact]
  the environment: ANYCLAUDE_MODE, ANYCLAUDE_MODEL and so on
  the flags of `anyclaude`")]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(clap::Subcommand, Debug)]
enum ConfigCommand {
    /// Print every value with the place it came from
    #[command(after_help = "\
Examples:
  anyclaude config show
  ANYCLAUDE_PORT=8080 anyclaude config show --json")]
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the configuration files, for editors
    #[command(after_help = "\
Example:
  anyclaude config schema > anyclaude.schema.json")]
    Schema,
}

/// Runs the command.
pub(super) fn run(args: &ConfigArgs) -> Result<ExitCode, CliError> {
    let text = match args.command {
        ConfigCommand::Show { json: true } => json(entries()?),
        ConfigCommand::Show { json: false } => table(entries()?),
        ConfigCommand::Schema => format!("{:#}\n", config::schema().to_value()),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The values, without the passwords that URLs may have.
fn entries() -> Result<Vec<ConfigValue>, CliError> {
    let mut entries = config::load(&Map::new())?.entries();
    entries.iter_mut().for_each(|entry| Redactor::installed().json(&mut entry.value));
    Ok(entries)
}

fn json(entries: Vec<ConfigValue>) -> String {
    let field = |ConfigValue { key, value, origin }| (key, serde_json::json!({ "value": value, "from": origin }));
    format!("{:#}\n", Value::Object(entries.into_iter().map(field).collect()))
}

fn table(entries: Vec<ConfigValue>) -> String {
    let mut rows = Builder::default();
    for ConfigValue { key, value, origin } in entries {
        rows.push_record([key, shown(&value), origin]);
    }
    trimmed_lines(&rows.build().with(Style::empty()).to_string())
}

/// A value as it would be written on the command line.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
