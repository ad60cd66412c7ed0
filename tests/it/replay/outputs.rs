//! What a replay writes for programs: the JSON and its schema, GitHub's annotations and summary, the page for a browser.

use std::process::Command;

use serde_json::{Value, json};

use super::{accepted, healthy, replay};
use crate::support::demo::{session, write_trace};
use crate::support::output::line_of;
use crate::support::process::{Ran, run};
use crate::support::replay_backend::{Flaw, ReplayBackend};
use crate::support::sandbox::{Sandbox, portable};

/// A session of one trace, accepted, whose request now asks for another file.
fn changed(server: &ReplayBackend) -> Sandbox {
    let sandbox = session();
    replay(&sandbox, server, &["--update"]).exits(0);
    write_trace(&sandbox, 1, &[("/request/body/messages/0/content", json!("Please read other.txt"))]);
    sandbox
}

/// A replay as a step of GitHub Actions runs it, in a folder `repository` of its workspace.
fn on_github<'a>(sandbox: &Sandbox, command: &'a mut Command) -> &'a mut Command {
    let workspace = sandbox.path("");
    command.env("CI", "true").env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", sandbox.path("summary.md"));
    command.env("GITHUB_WORKSPACE", workspace.parent().unwrap())
}

fn annotations(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().filter(|line| line.starts_with("::")).collect()
}

#[test]
fn the_json_of_a_replay_is_as_its_schema_says() {
    let schema: Value = serde_json::from_str(include_str!("../../../docs/replay.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let check = |sandbox: &Sandbox, file: &str| {
        let report: Value = serde_json::from_str(&sandbox.read(file)).unwrap();
        let errors: Vec<_> = validator.iter_errors(&report).map(|error| format!("{}: {error}", error.instance_path)).collect();
        assert_eq!(errors, Vec::<String>::new());
        report
    };
    let server = healthy();
    let sandbox = accepted(&server);
    replay(&sandbox, &server, &["--repeat", "5", "--json", "old.json"]).exits(0);
    sandbox.write("anyclaude.toml", "[replay.budget]\ncold.ttft.p50 = '1us'\n\n[[replay.match]]\npath = '$.no'\nas = 'ignore'\n");
    write_trace(&sandbox, 4, &[("/request/body/messages", json!(7))]);
    let compared = ["--repeat", "5", "--baseline", "old.json", "--max-slower", "1000", "--json", "new.json"];
    replay(&sandbox, &server, &compared).exits(1);
    let report = check(&sandbox, "new.json");
    assert_eq!(
        (report["comparison"]["speeds"].as_array().unwrap().len(), &report["untested"]["unreadable"][0]["reason"]),
        (9, &json!("request.body.messages: invalid type: integer `7`, expected a sequence"))
    );
    for flaw in [Flaw::MalformedArguments, Flaw::WrongWhenCached, Flaw::Fickle, Flaw::NoCache, Flaw::BreaksOff] {
        let server = ReplayBackend::with_cache_control(flaw);
        let ran = replay(&sandbox, &server, &["--check", "--json", "flawed.json"]);
        assert!(matches!(ran.code, Some(1 | 3)), "{flaw:?}");
        check(&sandbox, "flawed.json");
    }
}

#[test]
fn a_dash_is_standard_output_and_the_lines_for_people_are_on_standard_error() {
    let server = healthy();
    let sandbox = accepted(&server);
    let ran = replay(&sandbox, &server, &["--json", "-"]).exits(0);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["summary"]["as_accepted"], 2);
    insta::assert_snapshot!(line_of(&ran.stderr, "Summary "), @"Summary 2 traces: 2 as accepted, 1 skipped (not a request for a message)");
    assert!(!sandbox.path("-").exists());
}

#[test]
fn github_gets_annotations_and_a_summary_beside_what_the_step_wrote() {
    let server = healthy();
    let sandbox = changed(&server);
    sandbox.write("summary.md", "An earlier line.\n");
    let mut command = sandbox.anyclaude(&["replay", "--backend", &server.url]);
    let ran = run(on_github(&sandbox, &mut command)).exits(1);
    let folder = sandbox.path("").file_name().unwrap().to_str().unwrap().to_owned();
    insta::assert_snapshot!(annotations(&ran).join("\n").replace(&folder, "[folder]"), @r#"::error file=[folder]/traces/demo/001.json,title=argument-changed%3A demo/001::argument-changed: tool_use[0].input.file_path: "hello.txt" is accepted, "other.txt" came"#);
    let summary = sandbox.read("summary.md");
    let (times, problems) = summary.split_once("### What is not as it should be\n").unwrap();
    insta::assert_snapshot!(portable(problems));
    assert!(times.starts_with("An earlier line.\n## Replay failed\n\n2 traces: 1 as accepted, 1 changed"), "{times}");
    // A step whose summary is full keeps it.
    sandbox.write("summary.md", "x".repeat(900 * 1024));
    let mut command = sandbox.anyclaude(&["replay", "--backend", &server.url]);
    run(on_github(&sandbox, &mut command)).exits(1);
    assert_eq!(sandbox.read("summary.md").len(), 900 * 1024);
}

#[test]
fn github_gets_an_annotation_of_what_ended_a_replay_before_it_began() {
    let sandbox = session();
    let mut command = sandbox.anyclaude(&["replay", "--backend", "http://127.0.0.1:9", "--json", "-"]);
    let ran = run(on_github(&sandbox, &mut command)).exits(3);
    assert_eq!(ran.stdout, "");
    let line = line_of(&ran.stderr, "::error");
    assert!(line.starts_with("::error title=anyclaude replay::http://127.0.0.1:9: "), "{line}");
}

#[test]
fn snapshots_among_the_traces_are_taken() {
    let (sandbox, server) = (session(), healthy());
    std::fs::create_dir(sandbox.path("traces/snapshots")).unwrap();
    replay(&sandbox, &server, &["--update"]).exits(0);
    assert!(sandbox.path("traces/snapshots/demo__001.snap").exists() && !sandbox.path("snapshots").exists());
    replay(&sandbox, &server, &["--check"]).exits(0);
}

#[test]
fn github_gets_at_most_ten_annotations_and_the_last_is_a_count() {
    let server = healthy();
    let sandbox = session();
    (10..30).for_each(|seq| write_trace(&sandbox, seq, &[]));
    let mut command = sandbox.anyclaude(&["replay", "--backend", &server.url, "--phases", "cold"]);
    let ran = run(on_github(&sandbox, &mut command)).exits(1);
    let annotations = annotations(&ran);
    assert_eq!(annotations.len(), 10);
    insta::assert_snapshot!(annotations[9], @"::error title=anyclaude replay::13 more are in the log and in the job's summary");
}

#[test]
fn elsewhere_nothing_is_annotated() {
    let server = healthy();
    let ran = replay(&changed(&server), &server, &[]).exits(1);
    assert_eq!(annotations(&ran), Vec::<&str>::new());
}

#[test]
fn the_page_is_one_file_in_which_every_text_is_text() {
    let server = healthy();
    let sandbox = accepted(&server);
    let script = "</script><script>alert(1)</script>";
    write_trace(&sandbox, 1, &[("/request/body/messages/0/content", json!(format!("Please read {script}")))]);
    replay(&sandbox, &server, &["--html", "new/report.html"]).exits(1);
    let page = sandbox.read("new/report.html");
    assert_eq!((page.matches("<script>").count(), page.matches("</script>").count()), (1, 1));
    assert!(page.contains("&lt;/script&gt;"));
    assert!(!page.contains(" src=") && page.contains("default-src 'none'"));
}
