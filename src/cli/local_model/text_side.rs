//! What counts prompts in a model's own tokens.

use std::path::Path;
use std::sync::Arc;

use super::find;
use crate::cli::CliError;
use crate::engine::text::{ChatTemplate, Tokenizer};

/// The tokenizer and the chat template of the model that `--model` means. Loads no weights.
pub(crate) fn text_side(model: &Path) -> Result<(Arc<Tokenizer>, ChatTemplate), CliError> {
    let folder = find(model).map_err(CliError::input)?;
    let tokenizer = Tokenizer::load(&folder).map_err(CliError::input)?;
    let template = ChatTemplate::load(&folder, &tokenizer).map_err(CliError::input)?;
    Ok((tokenizer, template))
}
