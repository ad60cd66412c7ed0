//! The layers of settings, each over the one before: defaults, home, project, environment, flags.

use std::path::{Path, PathBuf};

use figment::providers::Env;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Serialize;

use super::file::{FILE_NAMES, explain, read, read_project, values};
use super::{ConfigError, Settings};

/// The beginning of our environment variables' names.
const PREFIX: &str = "ANYCLAUDE_";

/// The name of the layer below all others.
const DEFAULT: &str = "default";

/// The name of the environment's layer.
const ENVIRONMENT: &str = "environment";

/// The setting that a layer only adds to: what a person wants kept out of recordings stays out, whatever a project's file says.
const ADDED_TO: &str = "redact";

/// The settings that in environment variables are one text with commas.
const LISTS: [&str; 3] = ["tools_only", "allow_origin", "fallback"];

/// The settings, and where each came from.
pub struct Loaded {
    /// The values of all layers together.
    pub settings: Settings,
    figment: Figment,
}

/// The value of one setting.
pub struct ConfigValue {
    /// The setting's name.
    pub key: String,
    /// Its value as JSON.
    pub value: serde_json::Value,
    /// Where it came from, in words: a file's path, `flag`, `default` or the variable of the environment; all of them where its
    /// parts came from several.
    pub origin: String,
}

impl Loaded {
    /// All values, in the order of the settings.
    pub fn entries(&self) -> Vec<ConfigValue> {
        // Strings, numbers, lists and maps with string keys: serializing them cannot fail.
        let settings = serde_json::to_value(&self.settings).unwrap_or_default();
        let entries = settings.as_object().cloned().unwrap_or_default();
        entries.into_iter().map(|(key, value)| ConfigValue { origin: self.origin(&key), key, value }).collect()
    }

    /// The project's folder, if one of its files chose the folder of recordings.
    pub fn project_of_traces(&self) -> Option<PathBuf> {
        let project = project(&std::env::current_dir().ok()?, std::env::home_dir().as_deref())?;
        let origin = self.origin("traces");
        FILE_NAMES.iter().any(|name| project.join(name).display().to_string() == origin).then_some(project)
    }

    fn origin(&self, key: &str) -> String {
        let mut layers = Vec::new();
        if let Ok(value) = self.figment.find_value(key) {
            self.add_layers(&value, &mut layers);
        }
        if layers.iter().any(|layer| layer != DEFAULT) {
            layers.retain(|layer| layer != DEFAULT);
        }
        let name =
            |layer: &String| if layer == ENVIRONMENT { format!("{ENVIRONMENT}, {}", variable(key)) } else { layer.clone() };
        layers.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// Adds the names of the layers that a value's parts came from.
    fn add_layers(&self, value: &Value, layers: &mut Vec<String>) {
        match value {
            Value::Dict(_, parts) if !parts.is_empty() => parts.values().for_each(|part| self.add_layers(part, layers)),
            Value::Array(_, parts) if !parts.is_empty() => parts.iter().for_each(|part| self.add_layers(part, layers)),
            _ => {
                let name = self.figment.get_metadata(value.tag()).map_or(DEFAULT, |metadata| &*metadata.name);
                if !layers.iter().any(|known| known == name) {
                    layers.push(name.to_owned());
                }
            }
        }
    }
}

/// Loads the settings. `flags` serializes to a map of what the command line sets, under the settings' names.
pub fn load(flags: &impl Serialize) -> Result<Loaded, ConfigError> {
    let defaults = values(&Settings::default());
    let keys: Vec<&str> = defaults.keys().map(String::as_str).collect();
    let mut layers = of_files()?;
    layers.push(Layer { name: ENVIRONMENT.into(), values: environment(&keys) });
    layers.push(Layer { name: "flag".into(), values: values(flags) });
    let figment = over_defaults(layers);
    // Files and flags have been checked already, so only the environment can be wrong.
    let settings = figment.extract().map_err(|error: figment::Error| ConfigError::Environment {
        variable: error.path.first().map_or_else(|| PREFIX.to_owned(), |key| variable(key)),
        reason: explain(&error.kind.to_string()),
    })?;
    Ok(Loaded { settings, figment })
}

/// The settings that the files in this folder set, over the defaults.
pub fn load_folder(folder: &Path) -> Result<Settings, ConfigError> {
    let mut layers = Vec::new();
    for path in FILE_NAMES.map(|name| folder.join(name)) {
        layers.extend(read(&path)?.map(|values| Layer { name: path.display().to_string(), values }));
    }
    // Files have been checked already.
    Ok(over_defaults(layers).extract().unwrap_or_default())
}

/// The defaults, and over them these layers, each over the one before.
fn over_defaults(layers: Vec<Layer>) -> Figment {
    let defaults = Layer { name: DEFAULT.into(), values: values(&Settings::default()) };
    layers.into_iter().fold(Figment::from(defaults), |below, Layer { name, mut values }| {
        let added = values.remove_entry(ADDED_TO).into_iter().collect();
        below.merge(Layer { name: name.clone(), values }).admerge(Layer { name, values: added })
    })
}

/// What the environment sets.
fn environment(keys: &[&str]) -> Dict {
    let profiles = Env::prefixed(PREFIX).only(keys).data().ok();
    let mut values = profiles.and_then(|mut profiles| profiles.remove(&Profile::Default)).unwrap_or_default();
    for key in LISTS {
        if let Some(value) = values.get_mut(key)
            && let Some(text) = value.as_str()
        {
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            *value = names.map(str::to_owned).collect::<Vec<_>>().into();
        }
    }
    values
}

/// The environment variable of a setting.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}

/// What the home folder's files set, and over them the project's, which may not set everything.
fn of_files() -> Result<Vec<Layer>, ConfigError> {
    let home = std::env::home_dir();
    let project = std::env::current_dir().ok().and_then(|folder| project(&folder, home.as_deref()));
    let mut layers = Vec::new();
    for path in home.iter().flat_map(|folder| FILE_NAMES.map(|name| folder.join(name))) {
        layers.extend(read(&path)?.map(|values| Layer { name: path.display().to_string(), values }));
    }
    for path in project.iter().flat_map(|folder| FILE_NAMES.map(|name| folder.join(name))) {
        layers.extend(read_project(&path)?.map(|values| Layer { name: path.display().to_string(), values }));
    }
    Ok(layers)
}

/// The folder of the project's configuration files; this folder if there are none yet.
pub(super) fn project_folder() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    project(&here, std::env::home_dir().as_deref()).unwrap_or(here)
}

/// The nearest folder that has a configuration file: this one or one above it, below the home folder, which is its own layer,
/// under whichever name it is reached.
fn project(folder: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let real_home = home.and_then(|home| home.canonicalize().ok());
    let is_home = |folder: &Path| Some(folder) == home || Some(folder) == real_home.as_deref();
    let mut folders = folder.ancestors().take_while(|folder| !is_home(folder));
    folders.find(|folder| FILE_NAMES.iter().any(|name| folder.join(name).is_file())).map(Path::to_owned)
}

/// The values that one layer sets.
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
