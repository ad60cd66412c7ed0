//! Short fingerprints of the model that gave an outcome, to tell whether another one answers now.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Fingerprints of a model folder's parts. Equal parts have equal ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelDigest {
    /// The configuration and the weights, of which only samples are read.
    pub weights: String,
    /// The tokenizer.
    pub tokenizer: String,
    /// The chat template.
    pub template: String,
}
