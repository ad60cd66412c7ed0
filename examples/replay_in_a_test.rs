//! A replay as a test of your own: the traces in a folder, asked again of a server, must give the tool calls that were accepted.
//!
//!     cargo run --example replay_in_a_test -- http://127.0.0.1:8081 traces snapshots
//!
//! `anyclaude replay` and `anyclaude review` make the snapshots. docs/library.md has a shorter way for a single trace.

use std::error::Error;
use std::path::Path;

use anyclaude::backend::Backend;
use anyclaude::backend::remote::RemoteBackend;
use anyclaude::replay::{CaseResult, Driver, Phase, Plan, Policy, ReplaySettings, Replayer, Verdict};
use anyclaude::snapshot::{Info, Store};
use anyclaude::trace;

/// In a crate of your own this is a `#[tokio::test(flavor = "multi_thread")]`, and the arguments are constants.
async fn the_tool_calls_are_those_that_were_accepted(url: &str, traces: &Path, snapshots: &Path) -> Result<(), Box<dyn Error>> {
    let backend = RemoteBackend::new(url).await?;
    let results = replay(&backend, traces, snapshots).await?;
    for CaseResult { id, verdict, .. } in &results {
        assert!(matches!(verdict, Verdict::AsAccepted), "{id}: {verdict:?}");
    }
    println!("{} traces are as accepted", results.len());
    Ok(())
}

/// Asks everything again, each request once, with a cold cache. Writes nothing.
async fn replay(backend: &dyn Backend, traces: &Path, snapshots: &Path) -> Result<Vec<CaseResult>, Box<dyn Error>> {
    let settings = ReplaySettings { phases: vec![Phase::Cold], ..ReplaySettings::default() };
    let mut read = Vec::new();
    for path in trace::find(&[traces.to_path_buf()])? {
        read.push((path.clone(), trace::read(&path)?));
    }
    let plan = Plan::new(read, &settings)?;
    let replayer = Replayer {
        driver: Driver::new(backend, settings.retries),
        store: Store::new(snapshots),
        policy: Policy::Check,
        settings: &settings,
        known_answers: None,
        // For snapshots that are written, and to say whether another model made those that are accepted.
        info: Info { model: backend.model(), tool_format: "messages".into(), ..Info::default() },
        expression: String::new(),
    };
    let mut results = Vec::new();
    for case in &plan.cases {
        let (result, _ending) = replayer.replay(case, &plan.steps, &|_phase| {}, std::future::pending()).await?;
        results.push(result);
    }
    Ok(results)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, traces, snapshots] = &arguments[..] else {
        return Err("usage: replay_in_a_test URL TRACES SNAPSHOTS".into());
    };
    the_tool_calls_are_those_that_were_accepted(url, traces.as_ref(), snapshots.as_ref()).await
}
