//! The library's entry point for tests of other projects. docs/library.md shows it on the embedded model, and is a test itself.

use anyclaude::backend::remote::RemoteBackend;
use anyclaude::replay::{AskAgainError, Kind, ReplaySettings, ask_again};
use anyclaude::snapshot::Outcome;
use anyclaude::trace;
use serde_json::json;

use crate::support::demo::session;
use crate::support::replay_backend::{Flaw, ReplayBackend};

/// Asks a trace of session `demo` again, of a server with this flaw.
async fn asked(flaw: Flaw, number: &str) -> Result<Outcome, AskAgainError> {
    let (sandbox, server) = (session(), ReplayBackend::with_cache_control(flaw));
    let backend = RemoteBackend::new(&server.url).await.unwrap();
    let recorded = trace::read(&sandbox.path(&format!("traces/demo/{number}.json"))).unwrap();
    ask_again(&backend, &recorded, &ReplaySettings { retries: 0, ..ReplaySettings::default() }).await
}

#[tokio::test]
async fn a_recorded_request_is_asked_again_for_its_tool_calls() {
    let outcome = asked(Flaw::None, "001").await.unwrap();
    assert_eq!(outcome.tool_names(), ["Read"]);
    assert_eq!(outcome.tool_use[0].input, json!({"file_path": "hello.txt"}));
    assert_eq!(asked(Flaw::None, "002").await.unwrap().tool_use, []);
}

#[tokio::test]
async fn what_cannot_be_asked_again_is_an_error() {
    let refused = asked(Flaw::None, "003").await.unwrap_err().to_string();
    insta::assert_snapshot!(refused, @"the trace cannot be asked again: not a request for a message");
    match asked(Flaw::Overloaded, "001").await {
        Err(AskAgainError::Failed(failure)) => assert_eq!(failure.kind(), Kind::Overloaded),
        other => panic!("{other:?}"),
    }
}
