//! The committed traces on both compute paths: the same tool calls were accepted for both.

use std::fs;
use std::path::Path;

use mlx_rs::{Array, Dtype};

use crate::support::MODEL;
use crate::support::sandbox::{Sandbox, repository};

#[test]
fn a_committed_trace_is_as_accepted_on_both_paths() {
    let sandbox = Sandbox::new();
    write_in_f32(&sandbox.path("tiny"));
    for path in ["cpu", "gpu"] {
        replay(&sandbox, path, &["--filter", "text-only", "--phases", "cold,cached"]);
    }
}

#[test]
#[ignore = "takes minutes: make oracle"]
fn all_committed_traces_are_as_accepted_on_the_gpu_path() {
    let sandbox = Sandbox::new();
    write_in_f32(&sandbox.path("tiny"));
    replay(&sandbox, "gpu", &["--phases", "cold"]);
}

/// The embedded model in f32, which is what the outcomes were accepted with: the CPU path computes in it, the GPU path in what
/// the files hold. It is also what MLX computes fastest on a CPU.
fn write_in_f32(folder: &Path) {
    fs::create_dir(folder).unwrap();
    for entry in fs::read_dir(MODEL).unwrap() {
        let path = entry.unwrap().path();
        let copy = folder.join(path.file_name().unwrap());
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let tensors = Array::load_safetensors(&path).unwrap();
            let full = tensors.iter().map(|(name, tensor)| (name, tensor.as_dtype(Dtype::Float32).unwrap()));
            Array::save_safetensors(full, None, copy).unwrap();
        } else if path.is_file() {
            fs::copy(&path, copy).unwrap();
        }
    }
}

fn replay(sandbox: &Sandbox, path: &str, more: &[&str]) {
    let [traces, snapshots] = ["traces", "snapshots"].map(|folder| repository(folder).to_string_lossy().into_owned());
    let usual = ["replay", &traces, "--snapshots", &snapshots, "--model", "tiny", "--check", "--compute-path", path];
    let output = sandbox.anyclaude(&[&usual[..], more].concat()).output().unwrap();
    let shown = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "on the {path} path: {shown}");
}
