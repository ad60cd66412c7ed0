//! Whether a model will run on this machine, in a sentence.

use std::path::Path;

use indicatif::DecimalBytes;

use crate::cli::text::grouped;
use crate::engine::{Config, EngineError, MemoryForecast};

/// Why there is no forecast.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForecastError {
    /// The engine cannot run the model: what its configuration has or lacks.
    #[error("{0}")]
    NotSupported(String),
    /// The configuration cannot be read.
    #[error("{}: {reason}", path.display())]
    Unreadable { path: std::path::PathBuf, reason: String },
    /// The machine cannot be asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What a model with this `config.json`, and weight files of this size, will take here.
pub(crate) fn forecast(config: &Path, weight_bytes: u64) -> Result<String, ForecastError> {
    let text = std::fs::read_to_string(config)
        .map_err(|error| ForecastError::Unreadable { path: config.to_owned(), reason: error.to_string() })?;
    let config = Config::parse_text(&text).map_err(|reason| ForecastError::NotSupported(format!("config.json: {reason}")))?;
    Ok(sentence(&MemoryForecast::here(&config, weight_bytes)?))
}

fn sentence(forecast: &MemoryForecast) -> String {
    let MemoryForecast { weights, token, context, usable } = *forecast;
    let takes = format!("takes about {} of memory, and {} for each token", DecimalBytes(weights), DecimalBytes(token));
    let free = DecimalBytes(usable.unwrap_or(0));
    let context_tokens = grouped(context);
    match forecast.tokens_that_fit() {
        None => format!("{takes}; its context is {context_tokens} tokens"),
        Some(0) => format!("{takes}: more than the {free} that are free here"),
        Some(tokens) if tokens == context => format!("{takes}: its context of {context_tokens} tokens fits here"),
        Some(tokens) => {
            format!(
                "{takes}: about {} of its context of {context_tokens} tokens fit into the {free} that are free here",
                grouped(tokens)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_says_what_fits() {
        let whole = MemoryForecast { weights: 2_300_000_000, token: 147_456, context: 40_960, usable: Some(12_000_000_000) };
        let cases = [
            whole,
            MemoryForecast { context: 262_144, ..whole },
            MemoryForecast { usable: Some(2_000_000_000), ..whole },
            MemoryForecast { usable: None, ..whole },
        ];
        insta::assert_snapshot!(cases.map(|forecast| sentence(&forecast)).join("\n"), @"
        takes about 2.30 GB of memory, and 147.46 kB for each token: its context of 40,960 tokens fits here
        takes about 2.30 GB of memory, and 147.46 kB for each token: about 65,782 of its context of 262,144 tokens fit into the 12.00 GB that are free here
        takes about 2.30 GB of memory, and 147.46 kB for each token: more than the 2.00 GB that are free here
        takes about 2.30 GB of memory, and 147.46 kB for each token; its context is 40,960 tokens
        ");
    }
}
