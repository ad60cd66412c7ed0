//! The names that a trace's own tools have given: parameters, values of enumerations, tools.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::shape::is_name;

/// Words that stay in the arguments of calls, because the schemas of the trace's tools have them.
#[derive(Debug, Default)]
pub(super) struct DeclaredNames(HashSet<String>);

impl DeclaredNames {
    /// The names in the tools and output formats of a request's body.
    pub(super) fn of(body: &Value) -> Self {
        let mut names = Self::default();
        for field in ["tools", "functions", "output_config", "output_format", "response_format"] {
            body.get(field).into_iter().for_each(|value| names.collect(value));
        }
        names
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    fn collect(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Object(fields) => fields.iter().for_each(|(key, value)| match (key.as_str(), value) {
                // What users wrote as examples declares nothing.
                ("input_examples" | "examples" | "default" | "description", _) => {}
                ("properties", Value::Object(properties)) => self.collect_properties(properties),
                ("enum", Value::Array(values)) => values.iter().for_each(|value| self.add(value)),
                ("const" | "name", value) => self.add(value),
                (_, value) => self.collect(value),
            }),
            _ => {}
        }
    }

    fn collect_properties(&mut self, properties: &Map<String, Value>) {
        for (name, schema) in properties {
            if is_name(name) {
                self.0.insert(name.clone());
            }
            self.collect(schema);
        }
    }

    fn add(&mut self, value: &Value) {
        if let Some(name) = value.as_str().filter(|name| is_name(name)) {
            self.0.insert(name.to_owned());
        }
    }
}
