//! Runs that harm a recorder at work in every way we know, and look at three things: what its clients saw, what the traces say,
//! and that the next request works. Each prints a table; a value that is not the right one fails the run.
//!
//! Every test run has the short forms; `make chaos` has the long ones.

mod cases;
mod clock;
mod disk;
mod h2;
#[cfg(feature = "mlx")]
mod hostile_schemas;
mod kills;
mod line;
mod run;
mod scale;
#[cfg(feature = "mlx")]
mod server;
mod stop;
mod upstreams;

use line::{Line, table};
use scale::Scale;

/// All cases, in the order of the table.
fn cases(scale: &Scale) -> Vec<Line> {
    let mut lines = cases::all(scale);
    lines.extend(upstreams::all(scale));
    lines.extend(h2::all(scale));
    lines.extend(disk::all(scale));
    lines.push(clock::jumps(scale));
    lines.extend(stop::all(scale));
    #[cfg(feature = "mlx")]
    lines.extend(server::all());
    #[cfg(feature = "mlx")]
    lines.push(hostile_schemas::beside_a_stream(scale));
    lines
}

/// Where this variable is set, no case may be left out that the system could have.
const DEMANDS_ALL: &str = "ANYCLAUDE_CHAOS_DEMANDS_ALL";

/// Prints the table, and fails where a line is wrong.
fn judge(scale: &Scale, lines: Vec<Line>) {
    let lines: Vec<Line> = match std::env::var_os(DEMANDS_ALL) {
        Some(_) => lines.into_iter().map(Line::demanded).collect(),
        None => lines,
    };
    println!("seed {}\n{}", scale.seed, table(&lines));
    let wrong: Vec<String> = lines.iter().flat_map(Line::wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn whatever_happens_clients_and_traces_have_what_is_right_and_the_next_request_works() {
    let scale = Scale::short();
    judge(&scale, cases(&scale));
}

#[test]
fn after_a_kill_everything_whose_end_a_client_saw_is_a_whole_trace() {
    let scale = Scale::short();
    judge(&scale, kills::all(&scale));
}

#[test]
#[ignore = "minutes of faults: make chaos"]
fn in_full() {
    let scale = Scale::from_environment();
    let mut lines = cases(&scale);
    lines.extend(kills::all(&scale));
    judge(&scale, lines);
}
