//! The JSON Schema of the file that `replay --json` writes, which is committed as docs/replay.schema.json.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::compare::Compared;
use super::{Backends, Measured, Report};

/// The schema of the JSON file, made from the types that are written.
pub fn json_schema() -> Schema {
    of_type::<Report>("What anyclaude replay --json writes")
}

/// The schema of the file for several backends.
pub fn backends_json_schema() -> Schema {
    of_type::<Backends>("What anyclaude replay --json writes of several backends")
}

/// The schema of the file that `load --json` writes.
pub fn load_json_schema() -> Schema {
    of_type::<Measured>("What anyclaude load --json writes")
}

/// The schema of the file that `compare --json` writes.
pub fn compare_json_schema() -> Schema {
    of_type::<Compared>("What anyclaude compare --json writes")
}

fn of_type<T: JsonSchema>(title: &str) -> Schema {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    schema.insert("title".into(), title.into());
    RecursiveTransform(in_json_words).transform(&mut schema);
    schema
}

/// The types' comments speak to readers of Rust.
fn in_json_words(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace("`None`", "null").replace("[`", "`").replace("`]", "`");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_schema_is_that_of_the_types() {
        let schemas = [
            ("replay.schema.json", json_schema(), include_str!("../../docs/replay.schema.json")),
            ("replay-backends.schema.json", backends_json_schema(), include_str!("../../docs/replay-backends.schema.json")),
            ("load.schema.json", load_json_schema(), include_str!("../../docs/load.schema.json")),
            ("compare.schema.json", compare_json_schema(), include_str!("../../docs/compare.schema.json")),
        ];
        let mut of_other_types = Vec::new();
        for (name, schema, committed) in schemas {
            let now = format!("{:#}\n", schema.to_value());
            if committed != now {
                let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(name);
                std::fs::write(&copy, now).unwrap();
                of_other_types.push(copy);
            }
        }
        assert!(
            of_other_types.is_empty(),
            "of other types in docs/: compare them with {of_other_types:?}, then copy these there"
        );
    }
}
