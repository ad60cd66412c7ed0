//! The delta rule's inputs.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexOp;

/// The delta rule's inputs for `L` tokens.
#[derive(Clone)]
pub(in crate::engine::model) struct DeltaInputs {
    /// `[L, Hk, dk]`.
    pub queries: Array,
    /// `[L, Hk, dk]`.
    pub keys: Array,
    /// `[L, Hv, dv]`.
    pub values: Array,
    /// Logarithms of the decays, `[L, Hv]`, in f32.
    pub log_decays: Array,
    /// The fraction by which a token corrects the state, `[L, Hv]`.
    pub strengths: Array,
}

impl DeltaInputs {
    /// `L`.
    pub(in crate::engine::model) fn tokens(&self) -> i32 {
        self.values.dim(0)
    }

    /// The inputs of the first `tokens` tokens.
    pub(in crate::engine::model) fn first(&self, tokens: i32) -> Result<Self, Exception> {
        let first = |array: &Array| array.try_index(..tokens);
        Ok(Self {
            queries: first(&self.queries)?,
            keys: first(&self.keys)?,
            values: first(&self.values)?,
            log_decays: first(&self.log_decays)?,
            strengths: first(&self.strengths)?,
        })
    }
}
