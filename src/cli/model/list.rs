//! `anyclaude model ls`.

use std::process::ExitCode;

use console::style;
use indicatif::DecimalBytes;
use tabled::builder::Builder;
use tabled::settings::Style;

use crate::cli::local_model::{ModelFolder, in_words};
use crate::cli::text::trimmed_lines;
use crate::cli::{CliError, print, say};
use crate::hub::HubCache;

/// Prints a line for each model. Models that cannot be served are listed with the reason.
pub(super) fn run() -> Result<ExitCode, CliError> {
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
