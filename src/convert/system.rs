//! The system prompt's text.

use crate::wire::{ContentBlock, System};

/// What Claude Code puts before the system prompt to account for itself. Its value changes from request to request: in the
/// prompt it would keep every request from reusing another's prefix.
const BILLING_HEADER: &str = "x-anthropic-billing-header:";

/// The system prompt as one text, without the billing header; empty if there is none.
pub fn system_text(system: Option<&System>) -> String {
    match system {
        None => String::new(),
        Some(System::Text(text)) => text.clone(),
        Some(System::Blocks(blocks)) => {
            let texts = blocks.iter().filter_map(|block| match block {
                ContentBlock::Text { text, .. } => Some(text.as_str()),
                _ => None,
            });
            let texts = texts.enumerate().filter(|(at, text)| *at > 0 || !text.starts_with(BILLING_HEADER));
            texts.map(|(_, text)| text).collect::<Vec<_>>().join("\n\n")
        }
    }
}
