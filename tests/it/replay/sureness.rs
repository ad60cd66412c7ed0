//! How sure the embedded model is of what was accepted, with its weights as they are and with noise in them.

use std::fs;

use serde_json::Value;

use crate::support::MODEL;
use crate::support::changed_model::write_noisy;
use crate::support::process::Ran;
use crate::support::sandbox::{Sandbox, repository};

/// Replays committed traces on a model of the sandbox and asks for margins. `--json` is `out.json`.
fn replay(sandbox: &Sandbox, model: &str, more: &[&str]) -> Ran {
    let [traces, snapshots] = ["traces", "snapshots"].map(|folder| repository(folder).to_string_lossy().into_owned());
    let usual = ["replay", &traces, "--snapshots", &snapshots, "--model", model, "--check", "--phases", "cold", "--margins"];
    sandbox.run(&[&usual[..], &["--json", "out.json"], more].concat())
}

/// The most by which a margin may move where nothing changed: rounding, on a busy machine. Noise of 2% moves it by more than ten
/// times as much.
pub(super) const UNMOVED: &str = "0.001";

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
    let compared = [baseline(&sandbox, &[]), vec![UNMOVED]].concat();
    for _ in 0..20 {
        replay(&sandbox, MODEL, &compared).exits(0);
        let unmoved: f64 = UNMOVED.parse().unwrap();
        assert!(drops(&sandbox).iter().all(|(_, drop)| drop.abs() <= unmoved), "{:?}", drops(&sandbox));
    }
    write_noisy(&sandbox.path("noisy"), 0.02);
    let noisy = replay(&sandbox, "noisy", &compared).exits(4);
    assert!(noisy.stdout.contains("17 as accepted"), "{}", noisy.stdout);
    println!("{}", noisy.stdout);
}
