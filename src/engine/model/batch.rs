//! The input of one forward pass: the new tokens of one or more sequences, one row each, sequence after sequence.
//!
//! Activations of `R` rows have the shape `[n, R / n, D]`. What `n` is depends on the compute path.
//!
//! On the CPU path `n` decides whether rows depend on each other: MLX hands each of the `n` matrices to OpenBLAS as a product of
//! its own, and OpenBLAS sums up in an order that depends on the number of rows. Answers must not depend on who else is served,
//! so a pass of few tokens has `n = R`, one row per product; a kernel of ours multiplies large matrices with all rows at once.
//! Other passes have `n = 1`.
//!
//! On the GPU path MLX multiplies all `n` matrices in one product, and attention wants the rows of a sequence side by side. So
//! `n` is the number of sequences if all have as many new tokens, otherwise `n = R`. Attention works part by part: a part is a
//! sequence, or all sequences of joint buffers (see `kv_joint`) if they have as many new tokens.

use std::ops::Range;

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::concatenate;

use super::KvCache;
use super::compute_path::ComputePath;
use super::cpu::MAX_ROW_EXACT;
use super::kv_buffer::LayerKv;
use super::kv_joint::{JointPass, JointRow};
use super::rope::{QueryScaling, Starts};

/// The new tokens of one sequence and its KV cache.
pub struct SequenceInput<'a> {
    tokens: NewTokens<'a>,
    cache: &'a mut KvCache,
}

/// The new tokens of one sequence.
enum NewTokens<'a> {
    Known(&'a [u32]),
    /// One token that the device has still to choose, `[1]`.
    Coming(&'a Array),
}

impl<'a> SequenceInput<'a> {
    /// The tokens follow those in the cache, to which their keys and values are appended.
    pub fn new(tokens: &'a [u32], cache: &'a mut KvCache) -> Self {
        Self { tokens: NewTokens::Known(tokens), cache }
    }

    /// The same for one token that the device has still to choose, `[1]`: so the pass can be built before it is known.
    pub fn coming(token: &'a Array, cache: &'a mut KvCache) -> Self {
        Self { tokens: NewTokens::Coming(token), cache }
    }

    /// Number of new tokens.
    fn len(&self) -> usize {
        match self.tokens {
            NewTokens::Known(tokens) => tokens.len(),
            NewTokens::Coming(_) => 1,
        }
    }
}

impl NewTokens<'_> {
    /// As an array, `[L]`.
    fn array(&self) -> Array {
        match self {
            Self::Known(tokens) => Array::from_slice(tokens, &[tokens.len() as i32]),
            Self::Coming(token) => (*token).clone(),
        }
    }
}

/// Sequences whose attention is one call on the GPU path.
struct Part {
    /// The sequences, as a range of the inputs.
    inputs: Range<usize>,
    /// The sequences that share these ones' buffers, these included.
    sharing: Range<usize>,
    /// New tokens of each sequence.
    new: usize,
    /// Where these are all sequences of joint buffers.
    joint: Option<JointPass>,
}

/// What the new tokens of a part attend to, in one layer.
pub(super) struct Attended {
    /// `[S, K, T, d]`.
    pub kv: LayerKv,
    /// Which of several sequences' tokens each new token sees, `[S, 1, new, T]`. Without it: its own sequence's, up to itself.
    pub mask: Option<Array>,
}

/// The input of one forward pass: the new tokens of some sequences.
pub(super) struct Batch<'a> {
    inputs: Vec<SequenceInput<'a>>,
    /// On the GPU path, the parts that attention works on, in the order of the inputs.
    parts: Vec<Part>,
    path: ComputePath,
    row_exact: bool,
    /// `n` in `[n, R / n, D]`.
    size: i32,
    /// Each row's position in its sequence, `[R]`.
    positions: Array,
    /// The position of the first of each of the `n` groups of rows.
    starts: Starts,
    /// What each row's queries are multiplied by, `[R]`; `None` if that is 1 for all.
    query_factors: Option<Array>,
}

impl<'a> Batch<'a> {
    /// Any number of tokens of one sequence, or at most [`MAX_ROW_EXACT`] of each of several; an error if there is no sequence
    /// or one has no new token. `scaling`: how the model's queries grow with their position, if they do.
    pub(super) fn new(
        path: ComputePath,
        mut inputs: Vec<SequenceInput<'a>>,
        scaling: Option<QueryScaling>,
    ) -> Result<Self, Exception> {
        if inputs.is_empty() || inputs.iter().any(|input| input.len() == 0) {
            return Err(Exception::custom("every sequence of a batch needs a token"));
        }
        let parts = match path {
            ComputePath::Cpu => Vec::new(),
            ComputePath::Gpu => parts(&mut inputs),
        };
        let row_exact = inputs.iter().all(|input| input.len() <= MAX_ROW_EXACT);
        let rows: usize = inputs.iter().map(SequenceInput::len).sum();
        let alike = inputs.iter().all(|input| input.len() == inputs[0].len());
        let size = match path {
            ComputePath::Cpu if row_exact => rows,
            ComputePath::Cpu => 1,
            ComputePath::Gpu if alike => inputs.len(),
            ComputePath::Gpu => rows,
        };
        let of_input = |input: &SequenceInput| (input.cache.tokens()..).take(input.len()).map(|at| at as i32);
        let positions: Vec<i32> = inputs.iter().flat_map(of_input).collect();
        let starts = Starts::new(positions.iter().copied().step_by(rows / size).collect());
        let factors: Vec<f32> =
            positions.iter().map(|position| scaling.map_or(1.0, |scaling| scaling.factor(*position))).collect();
        let scaled = factors.iter().any(|factor| *factor != 1.0);
        let query_factors = scaled.then(|| Array::from_slice(&factors, &[rows as i32]));
        let positions = Array::from_slice(&positions, &[rows as i32]);
        Ok(Self { inputs, parts, path, row_exact, size: size as i32, positions, starts, query_factors })
    }

    /// How to compute it.
    pub(super) fn path(&self) -> ComputePath {
        self.path
    }

    /// Whether, on the CPU path, every row must get the bits that it would get alone.
    pub(super) fn is_row_exact(&self) -> bool {
        self.row_exact
    }

    /// The tokens, `[n, R / n]`.
    pub(super) fn tokens(&self) -> Result<Array, Exception> {
        let known = |input: &SequenceInput<'a>| match input.tokens {
            NewTokens::Known(tokens) => Some(tokens),
            NewTokens::Coming(_) => None,
        };
        if let Some(tokens) = self.inputs.iter().map(known).collect::<Option<Vec<_>>>() {
            let tokens = tokens.concat();
            return Ok(Array::from_slice(&tokens, &[self.size, tokens.len() as i32 / self.size]));
        }
        let tokens: Vec<Array> = self.inputs.iter().map(|input| input.tokens.array()).collect();
        if let [token] = &tokens[..] { token.clone() } else { concatenate(&tokens, 0)? }.reshape(&[self.size, -1])
    }

    /// Each row's position in its sequence, `[R]`.
    pub(super) fn positions(&self) -> &Array {
        &self.positions
    }

    /// The position of the first of each of the `n` groups of `R / n` rows.
    pub(super) fn starts(&self) -> &Starts {
        &self.starts
    }

    /// What each row's queries are multiplied by, `[R]`; `None` if that is 1 for all.
    pub(super) fn query_factors(&self) -> Option<&Array> {
        self.query_factors.as_ref()
    }

    /// Each sequence's rows, as a range of all `R`, and its cache.
    pub(super) fn sequences(&mut self) -> impl Iterator<Item = (Range<i32>, &mut KvCache)> {
        let mut end = 0;
        self.inputs.iter_mut().map(move |input| {
            let start = end;
            end += input.len() as i32;
            (start..end, &mut *input.cache)
        })
    }

    /// Of each part that attention works on, how many sequences it has and how many new tokens each of them. Empty on the CPU path.
    pub(super) fn part_sizes(&self) -> Vec<[i32; 2]> {
        self.parts.iter().map(|part| [part.inputs.len(), part.new].map(|size| size as i32)).collect()
    }

    /// Writes a layer's keys and values of each part's new tokens, of `S` rows, after the tokens present. Returns what these
    /// attend to; where a part has several sequences, only what the layer's `window` shows. All is written before anything is read:
    /// MLX writes in place only what nobody is about to read.
    pub(super) fn append(&mut self, layer: usize, window: Option<i32>, new: &[LayerKv]) -> Result<Vec<Attended>, Exception> {
        for (part, new) in self.parts.iter().zip(new) {
            part.write(&mut self.inputs, layer, new)?;
        }
        self.attended(layer, window)
    }

    /// What the new tokens of each part attend to in a layer that has written its keys and values in this pass.
    pub(super) fn attended(&mut self, layer: usize, window: Option<i32>) -> Result<Vec<Attended>, Exception> {
        self.parts.iter_mut().map(|part| part.attended(&self.inputs, layer, window)).collect()
    }

    /// `[R, D]` to `[n, R / n, D]`: the inverse of [`rows`].
    pub(super) fn batched(&self, rows: Array) -> Result<Array, Exception> {
        rows.reshape(&[self.size, -1, rows.dim(1)])
    }

    /// Makes the new tokens count in their caches.
    pub(super) fn advance(&mut self) {
        self.inputs.iter_mut().for_each(|input| input.cache.advance(input.len()));
    }

    /// The cache buffers to evaluate so that the new keys and values are computed.
    pub(super) fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.inputs.iter().flat_map(|input| input.cache.arrays())
    }
}

impl Part {
    fn write(&self, inputs: &mut [SequenceInput], layer: usize, new: &LayerKv) -> Result<(), Exception> {
        if let Some(joint) = &self.joint {
            let mut all: Vec<_> = inputs[self.inputs.clone()].iter_mut().map(|input| &mut *input.cache).collect();
            return joint.write(&mut all, layer, new);
        }
        let cache = &mut *inputs[self.inputs.start].cache;
        cache.add(layer, new)?;
        let written = cache.buffers(layer)?.clone();
        for other in self.sharing.clone().filter(|at| *at != self.inputs.start) {
            inputs[other].cache.share_buffers(layer, written.clone());
        }
        Ok(())
    }

    fn attended(&mut self, inputs: &[SequenceInput], layer: usize, window: Option<i32>) -> Result<Attended, Exception> {
        let cache = &inputs[self.inputs.start].cache;
        match &mut self.joint {
            Some(joint) => {
                let (kv, mask) = joint.attended(cache.buffers(layer)?, window)?;
                Ok(Attended { kv, mask: Some(mask) })
            }
            None => Ok(Attended { kv: cache.own(layer, cache.tokens() + self.new)?, mask: None }),
        }
    }
}

/// The parts of some inputs. Sequences that share buffers with one that is not among them, or not in its place, part from it.
fn parts(inputs: &mut [SequenceInput]) -> Vec<Part> {
    let (mut parts, mut start) = (Vec::new(), 0);
    while start < inputs.len() {
        let row = |at: usize| inputs[at].cache.joint_row();
        let knows = |at: &usize| row(start).zip(row(*at)).is_some_and(|(first, row)| first.shares_with(row));
        let sharing = start..start + 1 + (start + 1..inputs.len()).take_while(knows).count();
        let is_whole = JointRow::are_whole(&sharing.clone().map(row).collect::<Vec<_>>());
        if !is_whole {
            JointRow::part(&mut inputs[sharing.clone()].iter_mut().map(|input| &mut *input.cache).collect::<Vec<_>>());
        }
        let new = |at: usize| inputs[at].len();
        if is_whole && sharing.clone().all(|at| new(at) == new(start)) {
            let lengths: Vec<_> = inputs[sharing.clone()].iter().map(|input| input.cache.tokens()).collect();
            let joint = Some(JointPass::new(&lengths, new(start)));
            parts.push(Part { inputs: sharing.clone(), sharing: sharing.clone(), new: new(start), joint });
        } else {
            let alone = |at| Part { inputs: at..at + 1, sharing: sharing.clone(), new: new(at), joint: None };
            parts.extend(sharing.clone().map(alone));
        }
        start = sharing.end;
    }
    parts
}

/// `[n, R / n, D]` to `[R, D]`.
pub(super) fn rows(x: &Array) -> Result<Array, Exception> {
    x.reshape(&[-1, x.dim(2)])
}
