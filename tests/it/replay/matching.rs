//! Match rules: what they make equal, and that they are told.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::demo::write_trace;
use crate::support::faulty_backend::{Answer, Asked, start};
use crate::support::process::{Ran, Running};
use crate::support::sandbox::Sandbox;

const RULES: &str = r#"
[[replay.match]]
tool = "Bash"
path = "$.command"
as = "words"

[[replay.match]]
tool = "Read"
path = "$.file_path"
as = "path"

[[replay.match]]
tool = "Rea?"
path = "$.limit"
as = "type"
"#;

/// One trace whose outcome was accepted: it reads /project/a.txt up to line 5 and runs `ls -l`.
fn accepted() -> Sandbox {
    let sandbox = Sandbox::new();
    write_trace(&sandbox, 1, &[]);
    sandbox.run(&["replay", "--backend", &start(|_, _| {}), "--update"]).exits(0);
    sandbox
}

fn replay(sandbox: &Sandbox, more: &[&str], change: impl Fn(Asked, &mut Answer) + Send + Sync + 'static) -> Ran {
    let url = start(change);
    sandbox.run(&[&["replay", "--backend", &url, "--repeat", "2", "--json", "out.json"], more].concat())
}

fn report(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.read("out.json")).unwrap()
}

/// Another way to say the same.
fn reworded(_: Asked, answer: &mut Answer) {
    answer.calls[0].1 = json!({"file_path": "/project/./a.txt", "limit": 5}).to_string();
    answer.calls[1].1 = json!({"command": "ls  '-l'"}).to_string();
}

#[test]
fn outcomes_that_are_equal_under_rules_pass_and_say_so() {
    let sandbox = accepted();
    replay(&sandbox, &["--check"], reworded).exits(1);
    sandbox.write("anyclaude.toml", RULES);
    let before = sandbox.read("snapshots/demo__001.snap");
    let ran = replay(&sandbox, &[], reworded).exits(0);
    assert!(ran.stdout.contains("equal under 2 rules"), "{}", ran.stdout);
    assert_eq!(report(&sandbox)["cases"][0]["rules_needed"], 2);
    // What is accepted stays as it is, however it is written down anew.
    replay(&sandbox, &["--update"], reworded).exits(0);
    assert_eq!(sandbox.read("snapshots/demo__001.snap"), before);
    // What the rules do not cover is the only difference that is told.
    let ran = replay(&sandbox, &["--check"], |asked, answer| {
        reworded(asked, answer);
        answer.calls[0].1 = json!({"file_path": "/project/./b.txt", "limit": 6}).to_string();
    });
    let findings = report(&sandbox)["cases"][0]["findings"].clone();
    let expected = json!({
        "kind": "argument-changed", "place": "tool_use[0].input.file_path", "accepted": "/project/a.txt",
        "found": "/project/./b.txt",
    });
    assert_eq!(findings, json!([expected]));
    assert!(ran.exits(1).stdout.contains(r#" -        "file_path": "/project/a.txt","#));
}

#[test]
fn a_snapshot_has_rules_of_its_own_which_stay_when_it_is_accepted_anew() {
    let sandbox = accepted();
    let snapshot = sandbox.read("snapshots/demo__001.snap");
    let rules = "  match:\n  - path: $.file_path\n    as: ignore\n  - path: $.gone\n    as: trim\n  unordered_calls: true\n";
    sandbox.write("snapshots/demo__001.snap", snapshot.replace("input_file:", &format!("{rules}input_file:")));
    let elsewhere = |_: Asked, answer: &mut Answer| {
        answer.calls[0].1 = json!({"limit": 5}).to_string();
        answer.calls.swap(0, 1);
    };
    let ran = replay(&sandbox, &[], elsewhere).exits(0);
    assert!(ran.stdout.contains("equal under 2 rules"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Notice rule-unused: info.match[1]: any tool, $.gone as trim (1 trace)"), "{}", ran.stdout);
    replay(&sandbox, &[], |_, answer| drop(answer.calls.pop())).exits(1);
    sandbox.run(&["review", "--accept"]).exits(0);
    let accepted = sandbox.read("snapshots/demo__001.snap");
    assert!(accepted.contains("as: ignore") && accepted.contains("unordered_calls: true") && !accepted.contains("Bash"));
}

#[test]
fn a_rule_of_the_settings_that_is_for_nothing_is_reported() {
    let sandbox = accepted();
    let rule = |path: &str| format!("{RULES}[[replay.match]]\npath = '{path}'\nas = 'ignore'\n");
    sandbox.write("anyclaude.toml", rule("$.timestamp"));
    let ran = replay(&sandbox, &["--check"], reworded).exits(0);
    assert!(ran.stdout.contains("Notice rule-unused: replay.match: any tool, $.timestamp as ignore"), "{}", ran.stdout);
    assert_eq!(report(&sandbox)["untested"]["unused_rules"], json!([{"path": "$.timestamp", "as": "ignore"}]));
    // Of some traces nobody expects that they need all rules.
    replay(&sandbox, &["--check", "--filter", "demo"], reworded).exits(0);
    assert_eq!(report(&sandbox)["untested"]["unused_rules"], json!([]));
    sandbox.write("anyclaude.toml", rule("timestamp"));
    let wrong = replay(&sandbox, &["--check"], reworded);
    assert!(wrong.refusal().contains("\"timestamp\" is no JSONPath"), "{}", wrong.refusal());
}

#[test]
fn one_of_several_accepted_answers_is_enough_and_repeats_may_give_each() {
    let sandbox = accepted();
    let either = |asked: Asked, answer: &mut Answer| {
        if asked.nth % 2 == 1 {
            answer.calls.truncate(1);
        }
    };
    let other = |_: Asked, answer: &mut Answer| answer.calls.truncate(1);
    replay(&sandbox, &["--check"], either).exits(1);
    replay(&sandbox, &[], other).exits(1);
    let mut review = Running::start(sandbox.anyclaude(&["review"]).stdin(Stdio::piped()));
    review.write("+\n");
    let ran = review.end().exits(0);
    assert!(ran.stdout.contains("accepted snapshots/demo__001.snap"), "{}", ran.stdout);
    assert!(sandbox.read("snapshots/demo__001.snap").contains("\"any_of\": ["));
    for answer in [either, other] {
        replay(&sandbox, &["--check"], answer).exits(0);
    }
    replay(&sandbox, &["--check"], |_, answer| drop(answer.calls.remove(0))).exits(1);
    assert_eq!(report(&sandbox)["summary"]["kinds"], json!({"call-missing": 1}));
}

#[test]
fn the_rules_that_repeats_need_are_learnt_and_are_enough() {
    let sandbox = accepted();
    let differently = |asked: Asked, answer: &mut Answer| {
        if asked.nth % 2 == 1 {
            reworded(asked, answer);
        }
    };
    let ran = replay(&sandbox, &["--check", "--learn"], differently).exits(1);
    let (_, learnt) = ran.stdout.split_once("# The repeats").unwrap();
    let (_, toml) = learnt.split_once("\n\n").unwrap();
    insta::assert_snapshot!(toml, @r#"
    [[replay.match]]
    tool = "Bash"
    path = "$.command"
    as = "words"

    [[replay.match]]
    tool = "Read"
    path = "$.file_path"
    as = "path"
    "#);
    sandbox.write("anyclaude.toml", toml);
    let ran = replay(&sandbox, &["--check", "--learn"], differently).exits(0);
    assert!(ran.stdout.ends_with("# There is no rule to learn.\n"), "{}", ran.stdout);
}

#[test]
fn the_pass_rate_is_the_share_of_measurements_that_is_enough() {
    let sandbox = accepted();
    let one_of_six = |asked: Asked, answer: &mut Answer| {
        if asked.nth == 3 {
            answer.calls.clear();
        }
    };
    replay(&sandbox, &["--check", "--pass-rate", "0.8"], one_of_six).exits(0);
    replay(&sandbox, &["--check", "--pass-rate", "0.9"], one_of_six).exits(1);
    let refused = replay(&sandbox, &["--check", "--pass-rate", "0.4"], one_of_six).exits(2);
    assert!(refused.stderr.contains("a number above 0.5 and at most 1"), "{}", refused.stderr);
}
