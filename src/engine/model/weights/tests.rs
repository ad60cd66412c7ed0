//! Weights as they are found and kept.

use super::*;

fn save(path: &Path, tensors: &[(&str, &[i32])]) {
    let tensors = tensors.iter().map(|(name, shape)| (*name, mlx_rs::ops::zeros::<f32>(shape).unwrap()));
    Array::save_safetensors(tensors, None, path).unwrap();
}

fn open(dir: &Path) -> Result<Weights, EngineError> {
    Weights::open(dir, 1, Quantization::default(), ComputePath::Cpu)
}

/// The error's text without the temporary folder.
fn text(dir: &Path, error: EngineError) -> String {
    error.to_string().replace(&format!("{}/", dir.display()), "")
}

#[test]
fn shards_are_read_through_their_index() {
    let dir = tempfile::tempdir().unwrap();
    save(&dir.path().join("a.safetensors"), &[("x", &[2, 3])]);
    save(&dir.path().join("b.safetensors"), &[("y", &[4])]);
    let index = r#"{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}"#;
    std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
    let mut weights = open(dir.path()).unwrap();
    assert_eq!(weights.progress(), LoadProgress { read: 0, total: 40, memory: 40 });
    assert_eq!(weights.read("x", &[2, 3]).unwrap().shape(), [2, 3]);
    assert_eq!(weights.progress().read, 24);
    assert_eq!(weights.vector("y", 4).unwrap().shape(), [4]);
    let missing = weights.vector("z", 4).unwrap_err();
    assert_eq!(text(dir.path(), missing), "model.safetensors.index.json: no tensor z");
}

#[test]
fn a_wrong_shape_names_file_and_tensor() {
    let dir = tempfile::tempdir().unwrap();
    save(&dir.path().join("model.safetensors"), &[("x", &[2, 3])]);
    let error = open(dir.path()).unwrap().read("x", &[3, 2]).unwrap_err();
    assert_eq!(text(dir.path(), error), "model.safetensors: tensor x has shape [2, 3], config.json says [3, 2]");
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    save(&path, &[("x", &[8, 8])]);
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 7, 20, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = open(dir.path()).err().expect("a cut file must not load");
        assert!(text(dir.path(), error).starts_with("model.safetensors: the file is cut:"), "cut at {length}");
    }
}

#[test]
fn a_folder_without_weights_names_the_file_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let error = open(dir.path()).err().expect("there is nothing to load");
    assert!(text(dir.path(), error).starts_with("model.safetensors: No such file"));
}

/// A folder with a matrix `x`, `[outputs, 128]`, of 4 bits in groups of 64 with half-precision scales, and its weights unpacked.
fn packed_folder(outputs: i32) -> (tempfile::TempDir, Quantization, Array) {
    packed_folder_of("x", outputs)
}

/// The same with another name of the matrix.
fn packed_folder_of(name: &str, outputs: i32) -> (tempfile::TempDir, Quantization, Array) {
    use mlx_rs::ops::{dequantize, quantize};
    let dir = tempfile::tempdir().unwrap();
    let matrix = mlx_rs::random::normal::<f32>(&[outputs, 128], 0.0, 1.0, &mlx_rs::random::key(1).unwrap()).unwrap();
    let (words, scales, biases) = quantize(&matrix, 64, 4).unwrap();
    let half = |a: &Array| a.as_dtype(Dtype::Bfloat16).unwrap();
    let full = |a: &Array| half(a).as_dtype(Dtype::Float32).unwrap();
    let content = dequantize(&words, full(&scales), &full(&biases), 64, 4).unwrap();
    let tensors = [("weight", words), ("scales", half(&scales)), ("biases", half(&biases))];
    let tensors = tensors.map(|(part, array)| (format!("{name}.{part}"), array));
    Array::save_safetensors(tensors, None, dir.path().join("model.safetensors")).unwrap();
    (dir, Quantization::parse(&serde_json::json!({"group_size": 64, "bits": 4})).unwrap(), content)
}

#[test]
fn large_packed_matrices_stay_packed_on_the_cpu_path_and_progress_counts_that() {
    let (dir, quantization, content) = packed_folder(256);
    let mut weights = Weights::open(dir.path(), 1, quantization, ComputePath::Cpu).unwrap();
    // Scales and biases become f32.
    let memory = 256 * 64 + 2 * 256 * 2 * 4;
    assert_eq!(weights.progress(), LoadProgress { read: 0, total: 256 * 64 + 2 * 256 * 2 * 2, memory });
    let Matrix::PackedOnCpu(matrix) = weights.matrix("x", &[256, 128]).unwrap() else { panic!("unpacked") };
    assert_eq!(matrix.unpacked().unwrap().as_slice::<f32>(), content.as_slice::<f32>());
    assert_eq!(weights.progress().read, weights.progress().total);
}

#[test]
fn small_packed_matrices_become_f32_on_the_cpu_path_and_progress_counts_that() {
    let (dir, quantization, content) = packed_folder(4);
    let mut weights = Weights::open(dir.path(), 1, quantization, ComputePath::Cpu).unwrap();
    assert_eq!(weights.progress(), LoadProgress { read: 0, total: 4 * 64 + 2 * 16, memory: 4 * 128 * 4 });
    let Matrix::OnCpu(matrix) = weights.matrix("x", &[4, 128]).unwrap() else { panic!("still packed") };
    assert_eq!((matrix.dtype(), matrix.as_slice::<f32>()), (Dtype::Float32, content.as_slice::<f32>()));
    assert_eq!(weights.progress().read, weights.progress().total);
}

#[test]
fn weights_stay_as_shipped_on_the_gpu_path() {
    let (dir, quantization, content) = packed_folder(4);
    let mut weights = Weights::open(dir.path(), 1, quantization, ComputePath::Gpu).unwrap();
    assert_eq!(weights.progress(), LoadProgress { read: 0, total: 4 * 64 + 2 * 16, memory: 4 * 64 + 2 * 16 });
    let Matrix::Packed(matrix) = weights.matrix("x", &[4, 128]).unwrap() else { panic!("unpacked") };
    assert_eq!((matrix.words.shape(), matrix.scales.dtype()), (&[4, 16][..], Dtype::Bfloat16));
    let unpacked = matrix.unpack().unwrap().as_dtype(Dtype::Float32).unwrap();
    assert!(unpacked.all_close(content, 0.02, 0.02, None).unwrap());
    assert_eq!(weights.progress().read, weights.progress().total);
}

#[test]
fn a_wrong_packing_names_the_tensor() {
    let (dir, _, _) = packed_folder(4);
    let other = Quantization::parse(&serde_json::json!({"group_size": 64, "bits": 8})).unwrap();
    let error =
        Weights::open(dir.path(), 1, other, ComputePath::Gpu).unwrap().matrix("x", &[4, 128]).err().expect("another shape");
    let reason = "model.safetensors: tensor x.weight has shape [4, 16], config.json says [4, 32]";
    assert_eq!(text(dir.path(), error), reason);
}

#[test]
fn head_matrices_count_as_what_they_become() {
    let packed = 256 * 64 + 2 * 256 * 2 * 2;
    let (full, half) = (256 * 128 * 4, 256 * 128 * 2);
    for (name, on_cpu, on_gpu) in [("x.embed_q", full, packed), ("x.unembed_out", full, packed), ("x.kv_b_proj", full, half)] {
        for (path, memory) in [(ComputePath::Cpu, on_cpu), (ComputePath::Gpu, on_gpu)] {
            let (dir, quantization, _) = packed_folder_of(name, 256);
            let mut weights = Weights::open(dir.path(), 1, quantization, path).unwrap();
            assert_eq!(weights.progress().memory, memory, "{name}, {path:?}");
            let kept: Vec<Array> = match name {
                "x.kv_b_proj" => vec![weights.unpacked(name, &[256, 128]).unwrap()],
                _ => weights.head_matrices(name, &[256, 128]).unwrap().arrays().into_iter().cloned().collect(),
            };
            assert_eq!(kept.iter().map(|array| array.nbytes() as u64).sum::<u64>(), memory, "{name}, {path:?}");
        }
    }
}
