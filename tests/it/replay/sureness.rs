//! How sure the embedded model is of what was accepted, with its weights as they are and with noise in them.

use std::fs;
use std::path::Path;

use mlx_rs::{Array, Dtype};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::support::MODEL;
use crate::support::process::Ran;
use crate::support::sandbox::{Sandbox, repository};

/// Replays committed traces on a model of the sandbox and asks for margins. `--json` is `out.json`.
fn replay(sandbox: &Sandbox, model: &str, more: &[&str]) -> Ran {
    let [traces, snapshots] = ["traces", "snapshots"].map(|folder| repository(folder).to_string_lossy().into_owned());
    let usual = ["replay", &traces, "--snapshots", &snapshots, "--model", model, "--check", "--phases", "cold", "--margins"];
    sandbox.run(&[&usual[..], &["--json", "out.json"], more].concat())
}

/// The embedded model with each weight multiplied by `1 + noise * x`, where `x` is from -√3 to √3 and has variance 1.
fn write_noisy(folder: &Path, noise: f32) {
    let mut random = StdRng::seed_from_u64(7);
    fs::create_dir(folder).unwrap();
    for entry in fs::read_dir(MODEL).unwrap() {
        let path = entry.unwrap().path();
        let copy = folder.join(path.file_name().unwrap());
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let mut tensors: Vec<_> = Array::load_safetensors(&path).unwrap().into_iter().collect();
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
            Array::save_safetensors(noisy.iter().map(|(name, tensor)| (name, tensor)), None, copy).unwrap();
        } else if path.is_file() {
            fs::copy(&path, copy).unwrap();
        }
    }
}

/// How far each trace's least margin fell, by its name.
fn drops(sandbox: &Sandbox) -> Vec<(String, f64)> {
    let report: Value = serde_json::from_str(&sandbox.read("out.json")).unwrap();
    let drops = report["comparison"]["margins"].as_array().unwrap().iter();
    drops.map(|drop| (drop["id"].as_str().unwrap().to_owned(), drop["drop"].as_f64().unwrap())).collect()
}

/// Makes a baseline of the traces that `filter` selects. Returns its flags.
fn baseline<'a>(sandbox: &Sandbox, filter: &[&'a str]) -> Vec<&'a str> {
    let ran = replay(sandbox, MODEL, filter).exits(0);
    assert!(ran.stdout.contains("Margin "), "{}", ran.stdout);
    fs::rename(sandbox.path("out.json"), sandbox.path("baseline.json")).unwrap();
    [filter, &["--baseline", "baseline.json", "--max-drop"]].concat()
}

#[test]
fn margins_that_fell_exit_4_and_noise_in_the_weights_moves_them() {
    let sandbox = Sandbox::new();
    let compared = baseline(&sandbox, &["--filter", "write-file/0001"]);
    write_noisy(&sandbox.path("noisy"), 0.02);
    replay(&sandbox, "noisy", &[&compared[..], &["5"]].concat()).exits(0);
    let noisy = drops(&sandbox);
    assert!(noisy.len() == 1 && noisy[0].1.abs() > 0.01, "{noisy:?}");
    // As if the margin had been larger by 1 before.
    let mut before: Value = serde_json::from_str(&sandbox.read("baseline.json")).unwrap();
    let margin = &mut before["cases"][0]["margins"]["calls"][0]["least"]["margin"];
    *margin = (margin.as_f64().unwrap() + 1.0).into();
    sandbox.write("baseline.json", before.to_string());
    let fallen = replay(&sandbox, MODEL, &[&compared[..], &["0.5"]].concat()).exits(4);
    assert!(fallen.stdout.contains("less-sure write-file/0001  Write file_path, token "), "{}", fallen.stdout);
    // Nothing else moved: an unchanged model is as sure as it was.
    assert!((drops(&sandbox)[0].1 - 1.0).abs() < 1e-9, "{:?}", drops(&sandbox));
}

#[test]
#[ignore = "takes many minutes: cargo nextest run --run-ignored only -E 'test(noise_is_seen_in_all)'"]
fn noise_is_seen_in_all_committed_traces_and_none_in_twenty_unchanged_runs() {
    let sandbox = Sandbox::new();
    let compared = [baseline(&sandbox, &[]), vec!["0"]].concat();
    for _ in 0..20 {
        replay(&sandbox, MODEL, &compared).exits(0);
        assert!(drops(&sandbox).iter().all(|(_, drop)| *drop == 0.0), "{:?}", drops(&sandbox));
    }
    write_noisy(&sandbox.path("noisy"), 0.02);
    let noisy = replay(&sandbox, "noisy", &compared).exits(4);
    assert!(noisy.stdout.contains("17 as accepted"), "{}", noisy.stdout);
    println!("{}", noisy.stdout);
}
