//! `anyclaude trace minimize`.

use serde_json::Value;

use crate::support::TRACES;
use crate::support::sandbox::Sandbox;

/// Succeeds while the user's words and a tool are there.
const CHECK: &str = r#"grep -q 'Read hello.txt' "$TRACE" && grep -q input_schema "$TRACE""#;

#[test]
fn the_smallest_request_that_shows_it_is_a_valid_trace() {
    let sandbox = Sandbox::new();
    let original = format!("{TRACES}/read-file/0001.json");
    let arguments = ["trace", "minimize", &original, "--check", CHECK, "--out", "small/0001.json", "--budget", "300"];
    let ran = sandbox.run(&arguments).exits(0);
    assert!(ran.stdout.starts_with("small/0001.json: ") && !ran.stdout.contains("--budget"), "{}", ran.stdout);
    let body = |text: String| serde_json::from_str::<Value>(&text).unwrap()["request"]["body"].clone();
    let (small, whole) = (body(sandbox.read("small/0001.json")), body(std::fs::read_to_string(&original).unwrap()));
    assert!(small.to_string().len() < 400 && whole.to_string().len() > 20_000, "{small}");
    assert_eq!((small["messages"].as_array().unwrap().len(), small["tools"].as_array().unwrap().len()), (1, 1));
    sandbox.run(&["trace", "show", "small/0001.json"]).exits(0);
}

#[test]
fn a_check_that_cannot_tell_is_refused() {
    let sandbox = Sandbox::new();
    let original = format!("{TRACES}/read-file/0001.json");
    let refusal = |check| {
        sandbox.portable(&sandbox.run(&["trace", "minimize", &original, "--out", "small.json", "--check", check]).refusal())
    };
    insta::assert_snapshot!(refusal("echo 'no model' >&2; false"), @"exit 2: error: [repository]/traces/read-file/0001.json: --check does not succeed for the trace as it is; it says: no model");
    insta::assert_snapshot!(refusal("no-such-program"), @"exit 2: error: --check: sh cannot run `no-such-program`");
    assert!(sandbox.files("").is_empty());
}

#[test]
fn the_trace_itself_is_never_written_over() {
    let sandbox = Sandbox::new();
    let original = std::fs::read(format!("{TRACES}/read-file/0001.json")).unwrap();
    sandbox.write("0001.json", &original);
    std::os::unix::fs::symlink("0001.json", sandbox.path("link.json")).unwrap();
    for out in ["0001.json", "link.json", "/dev/null"] {
        let ran = sandbox.run(&["trace", "minimize", "0001.json", "--out", out, "--check", "true"]).exits(2);
        assert!(ran.stderr.contains("--out"), "{}", ran.stderr);
    }
    assert_eq!(std::fs::read(sandbox.path("0001.json")).unwrap(), original);
}
