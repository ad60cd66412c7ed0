//! The JSON Schema of a trace file, docs/trace.schema.json. Made in tests alone, so that the crate need not bring what makes it.

use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::{Trace, find, is_session_name};

/// What [`is_session_name`] says, as a regular expression.
pub(super) const SESSION: &str = "^[A-Za-z0-9_-][A-Za-z0-9_.-]*$";

/// The schema of recorded headers.
pub(super) fn headers(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "additionalProperties": {
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]
        }
    })
}

/// A file of this repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The schema of what is read: what may be missing need not be written.
fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Trace>();
    schema.insert("title".into(), "A trace file of anyclaude, version 1".into());
    schema.to_value()
}

/// Where a trace is not as the committed schema says.
fn faults(schema: &Validator, trace: &Value) -> Vec<String> {
    schema.iter_errors(trace).map(|error| error.instance_path.as_str().to_owned()).collect()
}

fn committed() -> Validator {
    let text = fs::read(repository("docs/trace.schema.json")).unwrap();
    jsonschema::validator_for(&serde_json::from_slice(&text).unwrap()).unwrap()
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let now = format!("{:#}\n", schema());
    if fs::read_to_string(repository("docs/trace.schema.json")).unwrap() != now {
        let made = repository("target/trace.schema.json");
        fs::write(&made, now).unwrap();
        panic!("docs/trace.schema.json is of other types: compare it with {}, then copy this there", made.display());
    }
}

#[test]
fn every_committed_trace_is_as_the_schema_says() {
    let schema = committed();
    for file in find(&[repository("traces")]).unwrap() {
        let trace = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(faults(&schema, &trace), Vec::<String>::new(), "{}", file.display());
    }
}

#[test]
fn what_no_reader_takes_is_not_as_the_schema_says() {
    let schema = committed();
    let trace = json!({
        "version": 1, "id": "x", "session": "s", "seq": 1, "recorded_at": "2026-01-01T00:00:00Z", "client": "c",
        "mode": "anthropic", "request": {"method": "POST", "path": "/v1/messages", "headers": {"a": ["1", "2"]}, "body": null},
        "response": {"status": 200, "headers": {}, "events": [], "body": null}, "timing": {}, "outcome": "complete",
    });
    assert_eq!(faults(&schema, &trace), Vec::<String>::new());
    for (place, value) in [
        ("/version", json!(2)),
        ("/session", json!("../s")),
        ("/seq", json!(0)),
        ("/seq", json!(1u64 << 32)),
        ("/request/path", json!("v1/messages")),
        ("/request/headers/a", json!(1)),
        ("/response/status", json!(70000)),
        ("/response/events", json!({})),
        ("/outcome", json!("done")),
    ] {
        let mut changed = trace.clone();
        *changed.pointer_mut(place).unwrap() = value;
        assert_eq!(faults(&schema, &changed), [place]);
    }
    for field in trace.as_object().unwrap().keys() {
        let mut without = trace.clone();
        without.as_object_mut().unwrap().remove(field);
        assert_eq!(faults(&schema, &without), [""], "without {field}");
        assert!(serde_json::from_value::<Trace>(without).is_err(), "without {field}");
    }
}

#[test]
fn the_schemas_sessions_are_those_that_may_be_folders() {
    let pattern = jsonschema::validator_for(&json!({"pattern": SESSION})).unwrap();
    for name in ["s", "20261128-040531", "a.b_c-2", "", ".", ".hidden", "a/b", "../../a", "a b", "a\u{1b}", "é", "-x"] {
        assert_eq!(pattern.is_valid(&json!(name)), is_session_name(name), "{name:?}");
    }
}
