//! A model's weights: one safetensors file or several shards, read layer by layer and converted for the compute path.
//!
//! The GPU path computes with weights as the files hold them, but for mxfp4. On the CPU path half precision becomes f32, as MLX is
//! 25 times slower with it there; packed matrices stay packed where our kernel can multiply them, else they become f32 too.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyclaude_kernels::MXFP4_GROUP;
use mlx_rs::error::IoError;
use mlx_rs::ops::stack;
use mlx_rs::transforms::eval;
use mlx_rs::{Array, Dtype};
use serde::Deserialize;

use super::compute_path::ComputePath;
use super::cpu::packed::CpuPacked;
use super::json_file::read_json;
use super::matrix::{Matrix, Packed};
use super::mxfp4;
use super::progress::LoadProgress;
use super::quantization::{Packing, Quantization, Storage};
use super::tensor_names::usual_name;
use super::{raw_gemma4, raw_gpt_oss, raw_qwen};
use crate::engine::EngineError;
use crate::tensor_file::TensorFile;

/// The tensors of a model folder, by name. Taking a tensor reads it; what was taken is no longer held here.
pub(super) struct Weights {
    tensors: HashMap<String, UnreadTensor>,
    quantization: Quantization,
    path: ComputePath,
    /// The single file or the shards' index: the file that an error about a missing tensor names.
    source: PathBuf,
    progress: LoadProgress,
}

/// The last parts of the names of [`Weights::head_matrices`].
pub(super) const HEAD_MATRICES: [&str; 2] = ["embed_q", "unembed_out"];

/// The same of a matrix that holds both of each head, which is unpacked to take them apart.
pub(super) const JOINED_HEAD_MATRICES: &str = "kv_b_proj";

/// A tensor that MLX has not read yet.
struct UnreadTensor {
    array: Array,
    file: PathBuf,
}

/// `model.safetensors.index.json`: which file holds each tensor.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: HashMap<String, String>,
}

impl Weights {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` names, of a model of so many layers.
    pub(super) fn open(dir: &Path, layers: usize, quantization: Quantization, path: ComputePath) -> Result<Self, EngineError> {
        let (single, index) = (dir.join("model.safetensors"), dir.join("model.safetensors.index.json"));
        let (source, files) = if single.exists() || !index.exists() {
            (single.clone(), BTreeSet::from([single]))
        } else {
            let files = shards(&index)?.into_iter().map(|name| dir.join(name)).collect();
            (index, files)
        };
        let (mut arrays, mut held_in) = (HashMap::new(), HashMap::new());
        for file in files {
            for (name, array) in open_file(&file)? {
                let Some(name) = usual_name(&name, layers) else { continue };
                held_in.insert(name.clone(), file.clone());
                arrays.insert(name, array);
            }
        }
        let unread = |(name, array): (String, Array)| {
            let file = held_in.get(&name).unwrap_or(&source).clone();
            (name, UnreadTensor { array, file })
        };
        let tensors =
            raw_gemma4::in_mlx_form(raw_gpt_oss::in_mlx_form(raw_qwen::in_mlx_form(arrays)?)?)?.into_iter().map(unread).collect();
        let mut weights = Self { tensors, quantization, path, source, progress: LoadProgress::default() };
        weights.progress.total = weights.tensors.values().map(|stored| stored.array.nbytes() as u64).sum();
        weights.progress.memory = weights.tensors.keys().map(|name| weights.memory(name)).sum();
        weights.tell_of_mxfp4();
        Ok(weights)
    }

    /// Says in the log that weights in mxfp4 become larger, if there are any.
    fn tell_of_mxfp4(&self) {
        let layers = self.tensors.keys().filter_map(|name| name.strip_suffix(".scales"));
        if layers.into_iter().any(|path| self.stored(path) == Some(Storage::MxFp4)) {
            let bits = mxfp4::mxfp4_bits(self.path);
            tracing::warn!(
                "weights in mxfp4 ({} bits each) are packed anew, without loss: {bits} bits each",
                mxfp4::MXFP4_SHIPPED_BITS
            );
        }
    }

    /// How much has been read.
    pub(super) fn progress(&self) -> LoadProgress {
        self.progress
    }

    /// Whether there is a tensor of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Takes a tensor `[length]`; an error if it is missing or has another shape.
    pub(super) fn vector(&mut self, name: &str, length: usize) -> Result<Array, EngineError> {
        self.read(name, &[length])
    }

    /// Takes a tensor that is no layer's matrix, never packed; an error if it is missing or has another shape.
    pub(super) fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Array, EngineError> {
        self.read(name, shape)
    }

    /// Takes a layer's matrix `[output, input]` or stack `[n, output, input]`; an error if a tensor is missing or has another
    /// shape. It is packed if the configuration says so and `<path>.scales` exists.
    pub(super) fn matrix(&mut self, path: &str, shape: &[usize]) -> Result<Matrix, EngineError> {
        let weight = format!("{path}.weight");
        match self.stored(path) {
            Some(Storage::Affine(packing)) => {
                let packed = self.affine(path, shape, packing)?;
                self.placed(packed, shape)
            }
            Some(Storage::MxFp4) => {
                let packed = self.mxfp4(path, shape)?;
                self.placed(packed, shape)
            }
            None => {
                let matrix = self.read(&weight, shape)?;
                Ok(self.plain(matrix))
            }
        }
    }

    /// Takes plain matrices `[output, input]` as one stack `[n, output, input]`.
    pub(super) fn stack(&mut self, names: &[String], shape: &[usize]) -> Result<Matrix, EngineError> {
        let matrices = names.iter().map(|name| self.take(name, shape)).collect::<Result<Vec<_>, _>>()?;
        let stack = stack(&matrices, 0)?;
        drop(matrices);
        eval([&stack])?;
        Ok(self.plain(stack))
    }

    /// Takes a stack `[heads, output, input]`, one of [`HEAD_MATRICES`], for products of each head: on the CPU path unpacked, as
    /// they are small.
    pub(super) fn head_matrices(&mut self, path: &str, shape: &[usize]) -> Result<Matrix, EngineError> {
        match self.path {
            ComputePath::Cpu => Ok(Matrix::OnCpu(self.unpacked(path, shape)?)),
            ComputePath::Gpu => self.matrix(path, shape),
        }
    }

    /// Takes a layer's matrix or stack without its packing.
    pub(super) fn unpacked(&mut self, path: &str, shape: &[usize]) -> Result<Array, EngineError> {
        let matrix = match self.stored(path) {
            Some(Storage::Affine(packing)) => self.affine(path, shape, packing)?.unpack()?,
            Some(Storage::MxFp4) => self.mxfp4(path, shape)?.unpack()?,
            None => self.take(&format!("{path}.weight"), shape)?,
        };
        eval([&matrix])?;
        Ok(matrix)
    }

    /// A matrix that is not packed, as the compute path keeps it.
    pub(super) fn plain(&self, matrix: Array) -> Matrix {
        match self.path {
            ComputePath::Cpu => Matrix::OnCpu(matrix),
            ComputePath::Gpu => Matrix::Plain(matrix),
        }
    }

    /// How a layer is stored; `None`: its weights are plain.
    fn stored(&self, path: &str) -> Option<Storage> {
        self.quantization.of(path).filter(|_| self.has(&format!("{path}.scales")))
    }

    fn affine(&mut self, path: &str, shape: &[usize], packing: Packing) -> Result<Packed, EngineError> {
        let groups = with_input(shape, |input| input / packing.group_size);
        Ok(Packed {
            words: self.take(&format!("{path}.weight"), &with_input(shape, |input| input * packing.bits / 32))?,
            scales: self.take(&format!("{path}.scales"), &groups)?,
            biases: self.take(&format!("{path}.biases"), &groups)?,
            packing,
        })
    }

    fn mxfp4(&mut self, path: &str, shape: &[usize]) -> Result<Packed, EngineError> {
        let codes = self.take(&format!("{path}.weight"), &with_input(shape, |input| input / 8))?;
        let exponents = self.take(&format!("{path}.scales"), &with_input(shape, |input| input / MXFP4_GROUP))?;
        Ok(mxfp4::as_affine(&codes, &exponents, self.path)?)
    }

    /// A packed matrix as the compute path keeps it.
    fn placed(&self, packed: Packed, shape: &[usize]) -> Result<Matrix, EngineError> {
        let matrix = match self.path {
            ComputePath::Cpu if CpuPacked::takes(packed.packing, weights_each(shape)) => {
                Matrix::PackedOnCpu(CpuPacked::new(&packed.words, &packed.scales, &packed.biases, packed.packing)?)
            }
            ComputePath::Cpu => Matrix::OnCpu(packed.unpack()?),
            ComputePath::Gpu => Matrix::Packed(packed),
        };
        eval(matrix.arrays())?;
        Ok(matrix)
    }

    /// Takes a tensor and reads it into memory.
    fn read(&mut self, name: &str, shape: &[usize]) -> Result<Array, EngineError> {
        let tensor = self.take(name, shape)?;
        eval([&tensor])?;
        Ok(tensor)
    }

    /// Takes a tensor, converted for the compute path but not evaluated yet.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Array, EngineError> {
        let missing = || file_error(&self.source, format!("no tensor {name}"));
        let UnreadTensor { array, file } = self.tensors.remove(name).ok_or_else(missing)?;
        if !array.shape().iter().map(|&size| size as usize).eq(shape.iter().copied()) {
            let reason = format!("tensor {name} has shape {:?}, config.json says {shape:?}", array.shape());
            return Err(file_error(&file, reason));
        }
        self.progress.read += array.nbytes() as u64;
        match self.path {
            ComputePath::Cpu if is_half(array.dtype()) => Ok(array.as_dtype(Dtype::Float32)?),
            ComputePath::Cpu | ComputePath::Gpu => Ok(array),
        }
    }

    /// Bytes of a tensor in memory once loaded. A packed matrix counts with its words.
    fn memory(&self, name: &str) -> u64 {
        let tensor = &self.tensors[name].array;
        let (path, part) = name.rsplit_once('.').unwrap_or(("", name));
        match (self.path, self.stored(path), part) {
            (_, Some(_), "scales" | "biases") => 0,
            (_, Some(stored), "weight") => self.packed_memory(path, tensor, stored),
            (ComputePath::Cpu, _, _) if is_half(tensor.dtype()) => tensor.size() as u64 * 4,
            (ComputePath::Cpu | ComputePath::Gpu, _, _) => tensor.nbytes() as u64,
        }
    }

    /// Whether a layer's matrix is kept without its packing in any case.
    fn becomes_unpacked(&self, path: &str) -> bool {
        let name = path.rsplit('.').next().unwrap_or_default();
        name == JOINED_HEAD_MATRICES || self.path == ComputePath::Cpu && HEAD_MATRICES.contains(&name)
    }

    /// The same of a packed matrix, scales and biases included.
    fn packed_memory(&self, path: &str, words: &Array, stored: Storage) -> u64 {
        let scales = &self.tensors[&format!("{path}.scales")].array;
        let (shipped, kept) = match stored {
            Storage::Affine(packing) => (packing.bits, packing),
            Storage::MxFp4 => (4, mxfp4::packing(self.path)),
        };
        let shape: Vec<usize> = words.shape().iter().map(|size| *size as usize).collect();
        let weights = words.size() * 32 / shipped;
        let (packed, groups) = (weights * kept.bits / 8, 2 * scales.size());
        let bytes = match (self.path, stored) {
            // Unpacked weights have the precision of their scales.
            (ComputePath::Cpu, _) if self.becomes_unpacked(path) => weights * 4,
            (ComputePath::Gpu, Storage::MxFp4) if self.becomes_unpacked(path) => weights * 2,
            (ComputePath::Gpu, Storage::Affine(_)) if self.becomes_unpacked(path) => weights * scales.item_size(),
            // Scales and biases are f32 then.
            (ComputePath::Cpu, _) if CpuPacked::takes(kept, weights_each(&shape) * 32 / shipped) => packed + groups * 4,
            (ComputePath::Cpu, _) => weights * 4,
            (ComputePath::Gpu, Storage::MxFp4) => packed + groups * 2,
            (ComputePath::Gpu, Storage::Affine(_)) => packed + 2 * scales.nbytes(),
        };
        bytes as u64
    }
}

/// A matrix's shape with another size of its last axis, which is the input's.
fn with_input(shape: &[usize], change: impl FnOnce(usize) -> usize) -> Vec<usize> {
    // Never empty: every matrix has an input axis.
    let (input, outer) = shape.split_last().unwrap_or((&0, &[]));
    [outer, &[change(*input)]].concat()
}

/// Weights of a matrix `[output, input]`, or of each one of a stack `[n, output, input]`.
fn weights_each(shape: &[usize]) -> usize {
    shape.iter().rev().take(2).product()
}

fn is_half(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::Bfloat16 | Dtype::Float16)
}

fn shards(index: &Path) -> Result<BTreeSet<String>, EngineError> {
    Ok(read_json::<ShardIndex>(index)?.weight_map.into_values().collect())
}

/// Opens a file for MLX. Checks its length first: MLX reads tensors later, on a thread whose errors end the process.
fn open_file(path: &Path) -> Result<HashMap<String, Array>, EngineError> {
    TensorFile::open(path).map_err(|error| file_error(path, error))?;
    Array::load_safetensors(path).map_err(|error| match error {
        IoError::Exception(exception) => file_error(path, exception.what()),
        other => file_error(path, other),
    })
}

fn file_error(path: &Path, reason: impl ToString) -> EngineError {
    EngineError::ModelFile { path: path.into(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests;
