//! The state of recurrent layers: of one size however many tokens it has seen, and impossible to cut back to fewer.
//!
//! It can go back in one way only: a pass of few tokens keeps its inputs, so that a rejected draft is undone by computing the
//! accepted tokens again, from the state before and without the rest of the model.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexOp;

use super::Config;
use super::compute_path::ComputePath;
use super::cpu::MAX_ROW_EXACT;
use super::delta_rule::{DeltaInputs, delta_rule};

/// The state of a gated delta net after some tokens.
#[derive(Clone)]
pub struct LayerState {
    /// The convolution's last inputs, `[1, tokens - 1, channels]`.
    pub conv: Array,
    /// For each value head a matrix from keys to values, `[value heads, value width, key width]`.
    pub delta: Array,
}

impl LayerState {
    /// Its arrays.
    pub fn arrays(&self) -> [&Array; 2] {
        [&self.conv, &self.delta]
    }
}

/// The sizes of the states of a model's recurrent layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StateShape {
    /// Recurrent layers.
    pub layers: usize,
    /// Shape of [`LayerState::conv`].
    pub conv: [i32; 3],
    /// Shape of [`LayerState::delta`].
    pub delta: [i32; 3],
}

impl StateShape {
    /// The shapes of a model's states; `None` if no layer is recurrent.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let delta = config.family.hybrid()?.delta;
        Some(Self {
            layers: config.recurrent_layers(),
            conv: [1, delta.conv_tokens as i32 - 1, delta.channels() as i32],
            delta: [delta.value_heads, delta.value_width, delta.key_width].map(|size| size as i32),
        })
    }
}

/// The inputs of a pass in one recurrent layer of one sequence, from which its last tokens can be taken back.
#[derive(Clone)]
pub(super) struct Taken {
    /// The convolution's inputs, those of the state before included: `[1, tokens - 1 + L, channels]`.
    pub conv_inputs: Array,
    /// The delta state before, as in [`LayerState::delta`].
    pub delta_before: Array,
    /// The delta rule's inputs for the pass's `L` tokens.
    pub inputs: DeltaInputs,
}

/// A recurrent layer's state in one sequence.
#[derive(Clone, Default)]
pub(super) struct RecurrentLayer {
    /// `None` before the first token.
    state: Option<LayerState>,
    /// The inputs of the last pass, if it was short enough to be taken back.
    taken: Option<Taken>,
}

impl RecurrentLayer {
    /// The state so far.
    pub(super) fn state(&self) -> Option<&LayerState> {
        self.state.as_ref()
    }

    /// A layer that goes on from a checkpoint's state.
    pub(super) fn resumed(state: LayerState) -> Self {
        Self { state: Some(state), taken: None }
    }

    /// Takes the state after a pass, and the pass's inputs.
    pub(super) fn advance(&mut self, state: LayerState, taken: Taken) {
        // Only drafts are taken back: a pass of one token has none, and a long pass is of a prompt.
        let short = 2..=MAX_ROW_EXACT as i32;
        self.taken = Some(taken).filter(|taken| short.contains(&taken.inputs.tokens()));
        self.state = Some(state);
    }

    /// Takes back the last tokens of the last pass.
    pub(super) fn cut(&mut self, path: ComputePath, tokens: i32) -> Result<(), Exception> {
        let Some(Taken { conv_inputs, delta_before, inputs }) = self.taken.take() else {
            return Err(Exception::custom("a recurrent state cannot be cut"));
        };
        let kept = inputs.tokens() - tokens;
        let ends = conv_inputs.dim(1) - inputs.tokens();
        let conv = conv_inputs.try_index((.., kept..kept + ends, ..))?.contiguous()?;
        let (_, delta) = delta_rule(path, &inputs.first(kept)?, &delta_before)?;
        self.state = Some(LayerState { conv, delta });
        Ok(())
    }

    /// The state's arrays.
    pub(super) fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.state.iter().flat_map(LayerState::arrays)
    }
}
