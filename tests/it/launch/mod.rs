//! `anyclaude` without a subcommand: Claude Code started on whatever answers.

mod chat;
mod claude;
mod start;
mod token;
