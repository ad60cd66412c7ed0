//! `make bench-graph`: the operations of a decoding step on the engine's GPU path, beside those of mlx-lm for the same model.

use std::error::Error;
use std::process::{Command, ExitCode, Stdio};

use anyclaude_graph::{AnswerCount, Operations, StepCount, TestModel, lengths};
use serde::Deserialize;

/// Most operations of a step, as a multiple of mlx-lm's.
const MOST: f64 = 1.1;

/// A line of tests/oracle/graph.py.
#[derive(Deserialize)]
struct PeerCount {
    tokens: usize,
    step: String,
    operations: Operations,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [python, script] = &arguments[..] else {
        return Err("usage: anyclaude-graph PYTHON tests/oracle/graph.py".into());
    };
    let model = TestModel::new()?;
    let ours = model.count()?;
    let theirs = mlx_lm(python, script, &model)?;
    println!("{:>6}  {:<15}  {:>24}  {:>24}", "", "", "operations", "");
    println!(
        "{:>6}  {:<15}  {:>5} {:>7} {:>6}   {:>8} {:>7}   {:>9} {:>7}",
        "tokens", "step", "ours", "mlx-lm", "ratio", "products", "mlx-lm", "attention", "mlx-lm"
    );
    let mut missed = 0;
    for StepCount { tokens, step, operations } in &ours {
        let same = |peer: &&PeerCount| peer.tokens == *tokens && peer.step == step.name();
        let peer = &theirs.iter().find(same).ok_or_else(|| format!("{script} counted no {:?}", step.name()))?.operations;
        let ratio = operations.all() as f64 / peer.all() as f64;
        let reached = ratio <= MOST && operations.products() == peer.products() && operations.attention() == peer.attention();
        missed += usize::from(!reached);
        println!(
            "{tokens:>6}  {:<15}  {:>5} {:>7} {ratio:>6.2}   {:>8} {:>7}   {:>9} {:>7}{}",
            step.name(),
            operations.all(),
            peer.all(),
            operations.products(),
            peer.products(),
            operations.attention(),
            peer.attention(),
            if reached { "" } else { "   more than mlx-lm" },
        );
    }
    println!("{missed} of {} steps take more than mlx-lm's", ours.len());
    let AnswerCount { waits_per_token, copies_per_follow_up } = model.count_answers("fixtures/models/tiny".as_ref())?;
    println!("waits for each token: {waits_per_token:.2}");
    println!("copies of the conversation's keys and values for a follow-up: {copies_per_follow_up:.2}");
    Ok(ExitCode::SUCCESS)
}

fn mlx_lm(python: &str, script: &str, model: &TestModel) -> Result<Vec<PeerCount>, Box<dyn Error>> {
    let output = Command::new(python).arg(script).arg(model.folder()).args(lengths()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{script} failed: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}
