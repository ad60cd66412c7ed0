//! The embedded model with something changed in its folder.

use std::fs;
use std::path::Path;

use mlx_rs::{Array, Dtype};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::MODEL;

/// A copy of the embedded model's folder, with what `changed` makes of a file in its place.
pub(crate) fn copy(folder: &Path, changed: impl Fn(&Path, &Path) -> bool) {
    fs::create_dir(folder).unwrap();
    for entry in fs::read_dir(MODEL).unwrap() {
        let path = entry.unwrap().path();
        let to = folder.join(path.file_name().unwrap());
        if path.is_file() && !changed(&path, &to) {
            fs::copy(&path, to).unwrap();
        }
    }
}

/// The embedded model with this text of its template replaced.
pub(crate) fn write_with_template(folder: &Path, text: &str, by: &str) {
    with_template(folder, |template| {
        assert!(template.contains(text), "{text}");
        template.replace(text, by)
    });
}

/// The embedded model with another template.
pub(crate) fn write_with_own_template(folder: &Path, template: &str) {
    with_template(folder, |_| template.to_owned());
}

fn with_template(folder: &Path, changed: impl Fn(&str) -> String) {
    copy(folder, |path, to| {
        let has_template = path.ends_with("tokenizer_config.json");
        if has_template {
            let mut config: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            config["chat_template"] = changed(config["chat_template"].as_str().unwrap()).into();
            fs::write(to, config.to_string()).unwrap();
        }
        has_template
    });
}

/// The embedded model with each weight multiplied by `1 + noise * x`, where `x` is from -√3 to √3 and has variance 1.
pub(crate) fn write_noisy(folder: &Path, noise: f32) {
    copy(folder, |path, to| {
        let are_weights = path.extension().is_some_and(|extension| extension == "safetensors");
        if are_weights {
            write_noisy_weights(path, to, noise);
        }
        are_weights
    });
}

fn write_noisy_weights(path: &Path, to: &Path, noise: f32) {
    let mut random = StdRng::seed_from_u64(7);
    let mut tensors: Vec<_> = Array::load_safetensors(path).unwrap().into_iter().collect();
    tensors.sort_by(|(one, _), (other, _)| one.cmp(other));
    let noisy = tensors.into_iter().map(|(name, tensor)| {
        let tensor = tensor.as_dtype(Dtype::Float32).unwrap();
        tensor.eval().unwrap();
        let width = 3f32.sqrt() * noise;
        let weights: Vec<f32> =
            tensor.as_slice::<f32>().iter().map(|weight| weight * (1.0 + random.random_range(-width..=width))).collect();
        (name, Array::from_slice(&weights, tensor.shape()))
    });
    let noisy: Vec<(String, Array)> = noisy.collect();
    Array::save_safetensors(noisy.iter().map(|(name, tensor)| (name, tensor)), None, to).unwrap();
}
