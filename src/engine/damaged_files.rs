//! Damaged model folders: an error names the file, and nothing panics.

use std::fs;
use std::path::Path;

use super::model::{ComputePath, Config, GenerationConfig, LoadListener, Model};
use super::testing::write_model;
use super::text::{ChatTemplate, Tokenizer};
use crate::damage::assert_errors_name_the_file;
use crate::engine::EngineError;

/// Damages one file of a small model in turn.
fn damage<T>(name: &str, refused: usize, load: impl Fn(&Path) -> Result<T, EngineError>) {
    let dir = tempfile::tempdir().unwrap();
    write_model(dir.path());
    let path = dir.path().join(name);
    let bytes = fs::read(&path).unwrap();
    assert_errors_name_the_file(&path, &bytes, refused, || load(dir.path()));
}

#[test]
fn configurations() {
    damage("config.json", 150, Config::load);
    damage("generation_config.json", 150, GenerationConfig::load);
}

#[test]
fn tokenizers() {
    damage("tokenizer.json", 150, Tokenizer::load);
}

#[test]
fn templates() {
    let tokenizer = Tokenizer::load(&super::text::tiny_model()).unwrap();
    damage("tokenizer_config.json", 150, |dir| ChatTemplate::load(dir, &tokenizer));
    let dir = tempfile::tempdir().unwrap();
    write_model(dir.path());
    let path = dir.path().join("chat_template.jinja");
    let template = ChatTemplate::load(dir.path(), &tokenizer).unwrap().source().to_owned();
    assert_errors_name_the_file(&path, template.as_bytes(), 30, || ChatTemplate::load(dir.path(), &tokenizer));
}

#[test]
fn weights() {
    damage("model.safetensors", 150, |dir| Model::load(dir, ComputePath::Cpu, &LoadListener::default()));
}
