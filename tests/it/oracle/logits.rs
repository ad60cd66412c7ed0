//! The engine against mlx-lm, on small random models of every family.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyclaude::engine::{ComputePath, LoadListener, Model, SequenceInput};
use mlx_rs::{Array, Dtype};

use crate::support::sandbox::repository;

/// What rounding may change.
#[derive(Clone, Copy)]
struct Rounding {
    /// The largest difference that a logit may have.
    tolerance: f32,
    /// Two tokens whose logits are this near are equally likely: either may come first.
    tie: f32,
    /// Most positions, of ten thousand, where two experts are as likely, so that the last bit says which one answers. Such a
    /// position is the reference's when the prompt is cut otherwise.
    router_ties: usize,
}

impl Rounding {
    /// Of logits in this precision.
    fn of(dtype: Dtype) -> Self {
        match dtype {
            Dtype::Bfloat16 | Dtype::Float16 => Self { tolerance: 0.02, tie: 0.01, router_ties: 2 },
            _ => Self { tolerance: 1e-3, tie: 1e-4, router_ties: 2 },
        }
    }
}

/// Prompt lengths that the reference has.
const PROMPTS: [usize; 4] = [1, 7, 512, 4096];

/// The prompt that the greedy answer follows.
const GREEDY_PROMPT: usize = 512;

#[test]
#[ignore = "needs the reference: make oracle"]
fn logits_and_greedy_answers_on_the_cpu_path_are_those_of_mlx_lm() {
    compare_all(ComputePath::Cpu);
}

/// Computed by MLX on the CPU, where there is no GPU.
#[test]
#[ignore = "needs the reference: make oracle"]
fn logits_and_greedy_answers_on_the_gpu_path_are_those_of_mlx_lm() {
    compare_all(ComputePath::Gpu);
}

fn compare_all(path: ComputePath) {
    let folders = folders();
    println!("on the {} path", path.name().to_uppercase());
    println!(
        "{:34} {:>10} {:>6} {:>12} {:>5} {:>6} {:>7}",
        "model", "positions", "top-1", "difference", "ties", "router", "greedy"
    );
    let failed: Vec<&Path> = folders.iter().filter(|folder| !compare(folder, path)).map(PathBuf::as_path).collect();
    assert!(failed.is_empty(), "not what mlx-lm computes: {failed:?}");
}

fn folders() -> Vec<PathBuf> {
    let models = repository("target/oracle/models");
    let entries = std::fs::read_dir(&models).unwrap_or_else(|e| panic!("{}: {e}: run make oracle", models.display()));
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(!folders.is_empty(), "{} is empty: run make oracle", models.display());
    folders
}

/// Compares one model, printing its row of the table.
fn compare(folder: &Path, path: ComputePath) -> bool {
    let name = folder.file_name().unwrap().to_string_lossy();
    let reference = Reference::load(folder, path);
    if !reference.has_logits() {
        println!("{name:34} compared in f32 only: see F32_ONLY in tests/oracle/make.py");
        return true;
    }
    let model = Model::load(folder, path, &LoadListener::default()).unwrap();
    let mut difference = Difference::new(reference.rounding());
    let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let experts = ["\"num_experts_per_tok\"", "\"top_k_experts\": 2"].iter().any(|field| config.contains(field));
    for length in PROMPTS {
        let prompt = reference.tokens(&format!("prompt.{length}"));
        let expected = reference.logits(length);
        let ours: Vec<_> = splits(length).iter().map(|split| logits(&model, &prompt, split)).collect();
        for found in &ours {
            difference.add(found, &expected, model.config().vocab_size, if experts { &ours } else { &[] });
        }
    }
    let expected = reference.greedy();
    let answer = greedy(&model, &reference.tokens(&format!("prompt.{GREEDY_PROMPT}")), expected.len());
    let same = answer.iter().zip(&expected).take_while(|(ours, theirs)| ours == theirs).count();
    let Difference { rounding, positions, other_top, ties, router_ties, largest } = difference;
    let greedy = format!("{same}/{}", expected.len());
    println!(
        "{name:34} {positions:>10} {:>6} {largest:>12.1e} {ties:>5} {router_ties:>6} {greedy:>7}",
        if other_top == 0 { "equal" } else { "OTHER" }
    );
    other_top == 0 && router_ties <= rounding.router_ties && largest <= rounding.tolerance && answer == expected
}

/// What mlx-lm computed.
struct Reference {
    tensors: HashMap<String, Array>,
    /// The precision that a compute path uses, as the tensors' names have it.
    precision: &'static str,
}

impl Reference {
    fn load(folder: &Path, path: ComputePath) -> Self {
        let tensors = Array::load_safetensors(folder.join("reference.safetensors")).unwrap();
        let precision = match path {
            ComputePath::Cpu => "f32",
            ComputePath::Gpu => "shipped",
        };
        Self { tensors, precision }
    }

    fn tokens(&self, name: &str) -> Vec<u32> {
        self.tensors[name].as_dtype(Dtype::Uint32).unwrap().to_vec_exact().unwrap()
    }

    fn has_logits(&self) -> bool {
        self.tensors.contains_key(&format!("{}.greedy", self.precision))
    }

    fn greedy(&self) -> Vec<u32> {
        self.tokens(&format!("{}.greedy", self.precision))
    }

    fn logits_array(&self, prompt: usize) -> &Array {
        &self.tensors[&format!("{}.logits.{prompt}", self.precision)]
    }

    fn logits(&self, prompt: usize) -> Vec<f32> {
        self.logits_array(prompt).as_dtype(Dtype::Float32).unwrap().to_vec_exact().unwrap()
    }

    fn rounding(&self) -> Rounding {
        Rounding::of(self.logits_array(GREEDY_PROMPT).dtype())
    }
}

/// Ways to cut a prompt into parts that are computed one after the other.
fn splits(length: usize) -> Vec<Vec<usize>> {
    let mut splits = vec![vec![length]];
    if (2..1000).contains(&length) {
        splits.extend([vec![1, length - 1], vec![length - 1, 1]]);
    }
    if length > 100 {
        // Parts of all sizes, most of them no multiple of anything.
        let sizes = [3, 129, 1, 200, 77, 511, 2, 640].iter().cycle();
        let ends = sizes.scan(0, |end, size| Some(std::mem::replace(end, *end + size))).take_while(|end| *end < length);
        let ends: Vec<usize> = ends.skip(1).chain([length]).collect();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        splits.push(starts.zip(&ends).map(|(start, end)| end - start).collect());
    }
    splits
}

/// The logits after every token of the prompt.
fn logits(model: &Model, prompt: &[u32], split: &[usize]) -> Vec<f32> {
    let (mut cache, mut rest, mut found) = (model.new_cache(), prompt, Vec::new());
    for size in split {
        let (part, left) = rest.split_at(*size);
        found.extend(model.logits(vec![SequenceInput::new(part, &mut cache)]).unwrap());
        rest = left;
    }
    assert!(rest.is_empty());
    found
}

/// The likeliest token, again and again, as the engine decodes.
fn greedy(model: &Model, prompt: &[u32], tokens: usize) -> Vec<u32> {
    let (last, rest) = prompt.split_last().unwrap();
    let mut cache = model.new_cache();
    model.prefill(rest, &mut cache).unwrap();
    let next = |token: &u32| Some(top(&model.logits(vec![SequenceInput::new(&[*token], &mut cache)]).unwrap()) as u32);
    std::iter::successors(Some(*last), next).skip(1).take(tokens).collect()
}

/// How far our logits are from the reference's.
struct Difference {
    rounding: Rounding,
    positions: usize,
    /// Positions whose likeliest token is another one, ties apart.
    other_top: usize,
    /// Positions where both have another likeliest token, as likely as the other's.
    ties: usize,
    /// Positions that are not the reference's but for another cut of the prompt.
    router_ties: usize,
    largest: f32,
}

impl Difference {
    fn new(rounding: Rounding) -> Self {
        Self { rounding, positions: 0, other_top: 0, ties: 0, router_ties: 0, largest: 0.0 }
    }

    /// `others`: the same prompt's logits for all cuts, where a router's tie is to be told from a mistake.
    fn add(&mut self, ours: &[f32], theirs: &[f32], vocabulary: usize, others: &[Vec<f32>]) {
        assert_eq!(ours.len(), theirs.len());
        for (position, (ours, theirs)) in ours.chunks(vocabulary).zip(theirs.chunks(vocabulary)).enumerate() {
            self.positions += 1;
            let place = position * vocabulary..(position + 1) * vocabulary;
            let tolerance = self.rounding.tolerance;
            if difference(ours, theirs) > tolerance
                && others.iter().any(|other| difference(&other[place.clone()], theirs) <= tolerance)
            {
                self.router_ties += 1;
                continue;
            }
            let (our_top, their_top) = (top(ours), top(theirs));
            if theirs[their_top] - theirs[our_top] >= self.rounding.tie {
                self.other_top += 1;
            } else if our_top != their_top {
                self.ties += 1;
            }
            let largest = difference(ours, theirs);
            self.largest = if largest <= self.largest { self.largest } else { largest };
        }
    }
}

/// The largest difference.
fn difference(ours: &[f32], theirs: &[f32]) -> f32 {
    // Not `max`: what is not a number must not be passed over.
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, |a: f32, b| if b <= a { a } else { b })
}

/// The first of the likeliest tokens.
fn top(logits: &[f32]) -> usize {
    (0..logits.len()).rev().max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap()
}
