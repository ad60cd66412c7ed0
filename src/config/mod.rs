//! The launcher's configuration: which settings there are, and finding their values.
//!
//! `settings` has the settings with their defaults; `layers` finds the values (flag, environment, project, home, default) and
//! remembers where each came from; `file` reads one configuration file, with errors that name the line; `added_rules` adds to
//! one. What the settings do is up to the launcher.

mod added_rules;
mod byte_size;
mod error;
mod file;
mod layers;
mod personal;
mod price;
mod settings;

use std::path::{Path, PathBuf};

pub use added_rules::{add_rules, rules_as_toml};
pub use byte_size::ByteSize;
pub use error::ConfigError;
pub use file::FILE_NAMES;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use file::parse;
pub use layers::{ConfigValue, Loaded, load, load_folder};
pub use price::{ModelPrice, TokenPrice};
pub use settings::{Mode, ModeSettings, RecorderSettings, RedactSettings, ReplayDefaults, Settings};

/// The path with a leading `~` replaced by the user's home folder.
pub fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// The JSON Schema of a configuration file, for editors.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Settings)
}
