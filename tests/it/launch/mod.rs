//! `anyclaude` without a subcommand: Claude Code started on whatever answers.

mod chat;
mod claude;
mod plugin_eval;
mod start;
mod token;

use crate::support::sandbox::Sandbox;

/// A sandbox with hello.txt in it.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("hello.txt", "The password is swordfish.\n");
    sandbox
}
