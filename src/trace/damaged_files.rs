//! Whatever was done to a trace or a partial file, reading it ends in a value or in one line that names the file.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{PartialFile, PartialLine, RecordedEvent, partial_path, read, recover, testing, write};
use crate::damage::assert_errors_name_the_file;

#[test]
fn damaged_traces_are_errors_that_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    for (name, refused) in [("0001.json", 140), ("0001.json.zst", 290)] {
        let path = folder.path().join(name);
        write(&path, &read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/traces/read-file/0001.json"))).unwrap()).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_errors_name_the_file(&path, &bytes, refused, || read(&path));
    }
}

#[test]
fn damaged_partial_files_are_errors_that_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let partial = partial_path(&folder.path().join("0001.json"));
    let mut file = PartialFile::create(partial.clone()).unwrap();
    let events = [
        json!({"type":"message_start","message":{"type":"message","content":[]}}),
        json!({"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hé"}}),
    ];
    let events = events.map(|data| RecordedEvent { at_us: 5, event: data["type"].as_str().unwrap().into(), data });
    let opening = testing::opening("/v1/messages", json!({"model": "m"}));
    file.append(&PartialLine::Request(Box::new(opening))).unwrap();
    file.append(&PartialLine::Response { status: 200, headers: serde_json::Map::new() }).unwrap();
    for event in events {
        file.append(&PartialLine::Event(event)).unwrap();
    }
    drop(file);
    let bytes = fs::read(&partial).unwrap();
    assert_errors_name_the_file(&partial, &bytes, 20, || {
        let recovered = recover(folder.path()).unwrap().remove(0);
        // The next one is recovered anew.
        fs::remove_file(folder.path().join("0001.json")).ok();
        recovered
    });
}
