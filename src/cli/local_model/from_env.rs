//! Options of `serve` for a command that does not have them as flags.

use clap::{Args, FromArgMatches};

use crate::cli::CliError;

/// The options as their variables of the environment set them, or else their defaults.
///
/// # Errors
/// A variable has a value that its flag would refuse.
pub(crate) fn from_env<Options: Args + FromArgMatches>() -> Result<Options, CliError> {
    let command = Options::augment_args(clap::Command::new("anyclaude"));
    let matches = command.try_get_matches_from(["anyclaude"]).and_then(|matches| Options::from_arg_matches(&matches));
    matches.map_err(|error| {
        let text = error.to_string();
        let reason = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        CliError::input(format!("a variable of the environment: {reason}"))
    })
}
