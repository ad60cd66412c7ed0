//! The layers of settings, each over the one before: default, home, project, environment, flags.

use std::path::{Path, PathBuf};

use figment::providers::Env;
use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Serialize;

use super::file::{FILE_NAMES, explain, read, values};
use super::{ConfigError, Settings};

/// What the names of our environment variables begin with.
const PREFIX: &str = "ANYCLAUDE_";

/// The environment as a layer's name.
const ENVIRONMENT: &str = "environment";

/// Settings, and where each came from.
pub struct Loaded {
    pub settings: Settings,
    figment: Figment,
}

impl Loaded {
    /// The settings' keys, in their order, with their values as JSON and the place each value came from.
    pub fn entries(&self) -> Vec<(String, serde_json::Value, String)> {
        // Strings, numbers and lists: it serializes.
        let settings = serde_json::to_value(&self.settings).unwrap_or_default();
        let entries = settings.as_object().cloned().unwrap_or_default();
        entries.into_iter().map(|(key, value)| (key.clone(), value, self.origin(&key))).collect()
    }

    fn origin(&self, key: &str) -> String {
        let layer = self.figment.find_metadata(key).map_or("default", |metadata| &*metadata.name);
        if layer == ENVIRONMENT { format!("{ENVIRONMENT}, {}", variable(key)) } else { layer.to_owned() }
    }
}

/// Finds the settings. `flags` serializes to what was set on the command line, under the settings' names.
pub fn load(flags: &impl Serialize) -> Result<Loaded, ConfigError> {
    let defaults = values(&Settings::default());
    let keys: Vec<&str> = defaults.keys().map(String::as_str).collect();
    let environment = Env::prefixed(PREFIX).only(&keys).data().ok();
    let environment = environment.and_then(|mut profiles| profiles.remove(&Profile::Default)).unwrap_or_default();
    let mut figment = Figment::from(Layer { name: "default".into(), values: defaults.clone() });
    for path in files() {
        if let Some(values) = read(&path)? {
            figment = figment.merge(Layer { name: path.display().to_string(), values });
        }
    }
    figment = figment.merge(Layer { name: ENVIRONMENT.into(), values: environment });
    figment = figment.merge(Layer { name: "flag".into(), values: values(flags) });
    // Files and flags were checked before: only the environment can be wrong.
    let settings = figment.extract().map_err(|error: figment::Error| ConfigError::Environment {
        variable: error.path.first().map_or_else(|| PREFIX.to_owned(), |key| variable(key)),
        reason: explain(&error.kind.to_string()),
    })?;
    Ok(Loaded { settings, figment })
}

/// The environment variable of a key.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}

/// Where files may be, the weaker ones first: the home folder, then the project's.
fn files() -> Vec<PathBuf> {
    let home = std::env::home_dir();
    let project = std::env::current_dir().ok().and_then(|folder| project(&folder, home.as_deref()));
    home.into_iter().chain(project).flat_map(|folder| FILE_NAMES.map(|name| folder.join(name))).collect()
}

/// The nearest folder above, or this one, that has a file. The home folder is a layer of its own.
fn project(folder: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let mut folders = folder.ancestors().take_while(|folder| Some(*folder) != home);
    folders.find(|folder| FILE_NAMES.iter().any(|name| folder.join(name).is_file())).map(Path::to_owned)
}

/// The values of one place.
struct Layer {
    name: String,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}
