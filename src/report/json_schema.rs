//! The JSON Schema of the file that `replay --json` writes, which is committed as docs/replay.schema.json.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::Value;

use super::Report;

/// The schema of the JSON file, made from the types that are written.
pub fn json_schema() -> Schema {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Report>();
    schema.insert("title".into(), "What anyclaude replay --json writes".into());
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
        let now = format!("{:#}\n", json_schema().to_value());
        let committed = include_str!("../../docs/replay.schema.json");
        if committed != now {
            let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/replay.schema.json");
            std::fs::write(&copy, now).unwrap();
            panic!("docs/replay.schema.json is of other types: compare it with {0}, then cp {0} docs/", copy.display());
        }
    }
}
