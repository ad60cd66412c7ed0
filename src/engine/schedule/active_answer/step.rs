//! One decoding step of all active answers, in one forward pass.
//!
//! On the GPU path the host works while the device does: it computes the masks of grammars, lets the device choose the tokens,
//! and builds the next step on tokens that nobody knows yet. Then it waits, once, and submits the next step as soon as it has
//! seen that the tokens ask for no other one. It does not submit it earlier: MLX writes keys and values in place only if no
//! operation under way reads their buffer, and would copy the whole conversation for each token.

use std::ops::Range;
use std::time::Instant;

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::transforms::async_eval;

use super::{ActiveAnswer, AnswerEnding, joining};
use crate::engine::EngineError;
use crate::engine::decode::{Sampler, TokenMask};
use crate::engine::model::{ComputePath, KvState, Model, wait};
use crate::engine::schedule::device_choice::{NO_TOKEN, choose};
use crate::engine::schedule::memory::MemoryLimit;
use crate::engine::schedule::sequence::Sequence;

/// The rows of one answer in a step that the device was given.
pub(super) struct Submitted {
    /// The logits of all answers, `[R, vocab]`.
    logits: Array,
    /// Which of them are this answer's.
    rows: Range<usize>,
    /// The tokens that may follow the first row; `None` if all may.
    first_mask: Result<Option<TokenMask>, EngineError>,
    /// The tokens that the device chooses after each row, if it can.
    chosen: Option<Array>,
}

/// A step built on the tokens that the device is choosing, one of each answer.
struct StepAhead {
    logits: Array,
    states: Vec<KvState>,
}

impl ActiveAnswer {
    /// Decodes one token for each of these answers, or several if a draft is accepted, all in one forward pass. Answers that join
    /// others whose step is already in work wait for the next one. Returns the endings of those that ended. An error of the
    /// device ends all of them, one of a single answer only that answer.
    pub(in crate::engine::schedule) fn step(
        model: &Model,
        memory: &MemoryLimit,
        answers: &mut [&mut Self],
    ) -> Vec<Option<AnswerEnding>> {
        let start = Instant::now();
        let ahead = match compute(model, memory, answers) {
            Ok(ahead) => ahead,
            Err(error) => return all_fail(answers, error),
        };
        let verify = |answer: &mut &mut Self| match answer.submitted.take().map(|step| answer.verify(step, start))? {
            Ok(finished) => finished.map(AnswerEnding::Finished),
            Err(error) => Some(AnswerEnding::Failed(error)),
        };
        let endings: Vec<_> = answers.iter_mut().map(verify).collect();
        let goes_on = endings.iter().all(Option::is_none) && answers.iter().all(|answer| answer.next.tokens.len() == 1);
        if let Some(ahead) = ahead.filter(|_| goes_on)
            && let Err(error) = ahead.submit(answers)
        {
            return all_fail(answers, error);
        }
        endings
    }
}

fn all_fail(answers: &[&mut ActiveAnswer], error: Exception) -> Vec<Option<AnswerEnding>> {
    let error = EngineError::from(error);
    answers.iter().map(|_| Some(AnswerEnding::Failed(error.clone()))).collect()
}

/// Waits until the step in work is computed, or one that it begins. Returns the step after it, if that can be built.
fn compute(model: &Model, memory: &MemoryLimit, answers: &mut [&mut ActiveAnswer]) -> Result<Option<StepAhead>, Exception> {
    if answers.iter().all(|answer| answer.submitted.is_none()) {
        joining::join(answers, model.path(), memory)?;
        begin(model, answers)?;
    }
    for answer in answers.iter_mut() {
        answer.choose(model.path())?;
    }
    // The step after this one begins anew if answers are to join before it.
    let ahead = if joining::is_due(answers, model.path(), memory) { None } else { StepAhead::build(model, answers)? };
    wait(answers.iter().filter_map(|answer| answer.submitted.as_ref()).flat_map(Submitted::arrays))?;
    Ok(ahead)
}

/// Submits a step of what each answer computes next.
fn begin(model: &Model, answers: &mut [&mut ActiveAnswer]) -> Result<(), Exception> {
    let mut growing: Vec<_> = answers.iter_mut().map(|answer| (&mut answer.sequence, &answer.next.tokens[..])).collect();
    let logits = Sequence::step(model, &mut growing)?;
    submit(answers, logits, model.path())
}

/// Gives the device the step that leads to these logits, and each answer its rows.
fn submit(answers: &mut [&mut ActiveAnswer], logits: Array, path: ComputePath) -> Result<(), Exception> {
    let mut end = 0;
    for answer in answers {
        let start = end;
        end += answer.next.tokens.len();
        answer.submitted = Some(Submitted { logits: logits.clone(), rows: start..end, first_mask: Ok(None), chosen: None });
    }
    match path {
        // Its kernels have computed nearly all of it by now.
        ComputePath::Cpu => Ok(()),
        ComputePath::Gpu => async_eval([&logits]),
    }
}

impl ActiveAnswer {
    /// Finds out which tokens may come, and on the GPU path lets the device choose from them once it has the logits.
    fn choose(&mut self, path: ComputePath) -> Result<(), Exception> {
        let Some(step) = &mut self.submitted else { return Ok(()) };
        let mask = self.generation.decoder.mask();
        if let (ComputePath::Gpu, Ok(mask)) = (path, &mask) {
            step.chosen = choose(&step.own_logits()?, &self.generation.sampler, mask.as_ref())?;
            async_eval(&step.chosen)?;
        }
        step.first_mask = mask;
        Ok(())
    }
}

impl StepAhead {
    /// Builds the next step, if the device chooses a single token for each answer and none of them must end with it.
    fn build(model: &Model, answers: &mut [&mut ActiveAnswer]) -> Result<Option<Self>, Exception> {
        let growing = answers.iter_mut().map(|answer| {
            let ActiveAnswer { sequence, submitted, generation, output_tokens, .. } = &mut **answer;
            let step = submitted.as_ref().filter(|step| step.rows() == 1 && *output_tokens + 1 < generation.max_tokens)?;
            Some((sequence, step.chosen.as_ref()?))
        });
        let Some(mut growing) = growing.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let (logits, states) = Sequence::step_ahead(model, &mut growing)?;
        Ok(Some(Self { logits, states }))
    }

    /// Submits it, once its tokens are known to be those that the answers compute next.
    fn submit(self, answers: &mut [&mut ActiveAnswer]) -> Result<(), Exception> {
        let Self { logits, states } = self;
        for (answer, state) in answers.iter_mut().zip(states) {
            answer.sequence.adopt(answer.next.tokens[0], state);
        }
        submit(answers, logits, ComputePath::Gpu)
    }
}

impl Submitted {
    /// How many tokens it computes.
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// What to wait for.
    fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.chosen.iter().chain([&self.logits])
    }

    /// This answer's logits, `[rows, vocab]`.
    fn own_logits(&self) -> Result<Array, Exception> {
        if self.rows.len() == self.logits.dim(0) as usize {
            return Ok(self.logits.clone());
        }
        self.logits.try_index((self.rows.start as i32..self.rows.end as i32, ..))
    }

    /// The tokens that may follow the first row; `None` if all may.
    pub(super) fn first_mask(&mut self) -> Result<Option<TokenMask>, EngineError> {
        std::mem::replace(&mut self.first_mask, Ok(None))
    }

    /// The logits after a row, once they are computed.
    pub(super) fn logits(&self, row: usize) -> Result<&[f32], EngineError> {
        let logits = self.logits.try_as_slice::<f32>().map_err(|error| EngineError::Device(error.to_string()))?;
        let vocab = self.logits.dim(-1) as usize;
        let start = (self.rows.start + row) * vocab;
        Ok(&logits[start..start + vocab])
    }

    /// The token that the device chose after a row, if that is the one that the sampler would choose; it counts as sampled then.
    pub(super) fn chosen(&self, row: usize, mask: Option<&TokenMask>, sampler: &mut Sampler) -> Result<Option<u32>, EngineError> {
        let Some(chosen) = &self.chosen else { return Ok(None) };
        let token = chosen.try_as_slice::<u32>().map_err(|error| EngineError::Device(error.to_string()))?[row];
        // The device has used a mask after the first row at most. After later rows a mask changes nothing only if the likeliest
        // token is always taken, and is allowed.
        let same = match mask {
            Some(mask) => mask.allows(token) && (row == 0 || sampler.is_greedy()),
            None => token != NO_TOKEN,
        };
        if !same {
            return Ok(None);
        }
        sampler.accept(token);
        Ok(Some(token))
    }
}
