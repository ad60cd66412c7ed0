//! `anyclaude replay` as its users run it: the built binary, real sockets, real files.

mod chat_margins;
mod failure;
mod faults;
mod figures;
mod matching;
#[cfg(feature = "mlx")]
mod matrix;
mod modes;
mod outputs;
mod page;
mod several;
#[cfg(feature = "mlx")]
mod sureness;
mod time_limits;
mod verdict;

use crate::support::demo::session;
use crate::support::process::Ran;
use crate::support::replay_backend::{Flaw, ReplayBackend};
use crate::support::sandbox::{Sandbox, portable};

/// Replays against the server.
fn replay(sandbox: &Sandbox, server: &ReplayBackend, more: &[&str]) -> Ran {
    sandbox.run(&[&["replay", "--backend", &server.url], more].concat())
}

/// A session whose snapshots were accepted on this server.
fn accepted(server: &ReplayBackend) -> Sandbox {
    let sandbox = session();
    replay(&sandbox, server, &["--update"]).exits(0);
    sandbox
}

fn healthy() -> ReplayBackend {
    ReplayBackend::with_cache_control(Flaw::None)
}

/// What a replay printed, less the tables and histograms of latencies, which are other ones each time.
fn shown(ran: &Ran) -> String {
    let paragraphs = ran.stdout.split("\n\n").filter(|text| !text.starts_with("  phase ") && !text.starts_with("  TTFT, "));
    portable(&paragraphs.collect::<Vec<_>>().join("\n\n"))
}
