//! Faults planted one at a time in a backend's answers: each is named by its kind, and fails with that kind's exit code.

use serde_json::{Value, json};

use crate::support::demo::write_trace;
use crate::support::faulty_backend::{Answer, Asked, Cached, start};
use crate::support::process::Ran;
use crate::support::sandbox::Sandbox;

/// One trace whose outcome was accepted on a backend without a fault.
fn accepted() -> Sandbox {
    let sandbox = Sandbox::new();
    write_trace(&sandbox, 1, &[]);
    sandbox.run(&["replay", "--backend", &start(|_, _| {}), "--update"]).exits(0);
    sandbox
}

/// Replays on a backend with this fault, twice in each phase.
fn replay(sandbox: &Sandbox, more: &[&str], fault: impl Fn(Asked, &mut Answer) + Send + Sync + 'static) -> Ran {
    let url = start(fault);
    sandbox.run(&[&["replay", "--backend", &url, "--check", "--repeat", "2", "--json", "out.json"], more].concat())
}

fn report(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.read("out.json")).unwrap()
}

/// The names of the kinds that were found.
fn kinds(sandbox: &Sandbox) -> Vec<String> {
    report(sandbox)["summary"]["kinds"].as_object().unwrap().keys().cloned().collect()
}

type PlantedFault = (&'static str, i32, &'static [&'static str], fn(Asked, &mut Answer));

const FAULTS: [PlantedFault; 31] = [
    ("", 0, &[], |_, _| {}),
    ("tool-renamed", 1, &[], |_, answer| answer.calls[0].0 = "read_file".into()),
    ("argument-lost", 1, &[], |_, answer| answer.calls[0].1 = answer.calls[0].1.replace(",\"limit\":5", "")),
    ("argument-added", 1, &[], |_, answer| answer.calls[0].1 = answer.calls[0].1.replace('}', ",\"offset\":1}")),
    ("argument-changed", 1, &[], |_, answer| answer.calls[0].1 = answer.calls[0].1.replace('5', "6")),
    ("path-changed", 1, &[], |_, answer| answer.calls[0].1 = answer.calls[0].1.replace("/project/", "/home/me/")),
    ("json-escaped-twice", 1, &[], |_, answer| answer.calls[0].1 = json!(answer.calls[0].1).to_string()),
    ("calls-merged", 1, &[], |_, answer| {
        // The second call reads a file as well, and both come as one.
        let second = answer.calls.remove(1);
        answer.calls[0].1.push_str(&second.1);
    }),
    ("calls-reordered", 1, &[], |_, answer| answer.calls.swap(0, 1)),
    ("call-missing", 1, &[], |_, answer| drop(answer.calls.pop())),
    ("call-added", 1, &[], |_, answer| answer.calls.push(("Glob".into(), "{}".into()))),
    ("white-space", 1, &[], |_, answer| answer.calls[1].1 = answer.calls[1].1.replace("ls -l", "ls -l ")),
    ("text-instead-of-call", 1, &[], |_, answer| {
        answer.calls.clear();
        (answer.text, answer.stop_reason) = ("I cannot read files.".into(), "end_turn".into());
    }),
    ("malformed-arguments", 1, &[], |_, answer| answer.calls[0].1 = answer.calls[0].1.replace('}', "")),
    ("stop-reason-changed", 1, &[], |_, answer| answer.stop_reason = "end_turn".into()),
    ("cut-off", 1, &[], |_, answer| answer.stop_reason = "max_tokens".into()),
    ("prompt-tokens-changed", 1, &[], |_, answer| answer.prompt_tokens = 360),
    ("cache", 1, &[], |asked, answer| {
        if asked.cache == Cached::Everything {
            answer.calls[0].1 = answer.calls[0].1.replace('5', "6");
        }
    }),
    ("flaky", 1, &[], |asked, answer| {
        if asked.nth == 3 {
            answer.calls[0].1 = answer.calls[0].1.replace('5', "6");
        }
    }),
    ("overloaded", 3, &["--retries", "1"], |_, answer| answer.status = Some(529)),
    ("overloaded", 3, &["--retries", "1"], |_, answer| answer.status = Some(503)),
    ("rate-limited", 3, &["--retries", "1"], |_, answer| answer.status = Some(429)),
    ("server-error", 3, &[], |_, answer| answer.status = Some(500)),
    ("refused-request", 3, &[], |_, answer| answer.status = Some(400)),
    ("stream-cut", 3, &[], |_, answer| answer.is_cut = true),
    ("protocol-broken", 3, &[], |_, answer| answer.edit = TEXT_IN_A_CALL),
    ("protocol-broken", 3, &[], |_, answer| answer.edit = |events| events[2]["delta"] = ARGUMENTS()),
    ("protocol-broken", 3, &[], |_, answer| answer.edit = |events| drop(events.remove(9))),
    ("protocol-broken", 3, &[], |_, answer| answer.edit = |events| events.insert(1, events[0].clone())),
    ("protocol-broken", 3, &[], |_, answer| answer.edit = |events| events[10]["delta"]["stop_reason"] = Value::Null),
    ("protocol-broken", 3, &[], |_, answer| answer.edit = |events| events[7..=10].rotate_right(1)),
];

/// Events 0 to 11: the message's start, three for each of the blocks, the stop reason, the end.
const TEXT_IN_A_CALL: fn(&mut Vec<Value>) = |events| {
    let delta = json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "a"}});
    events.insert(5, delta);
};

const ARGUMENTS: fn() -> Value = || json!({"type": "input_json_delta", "partial_json": "{}"});

#[test]
fn a_broken_stream_becomes_no_snapshot() {
    let sandbox = Sandbox::new();
    write_trace(&sandbox, 1, &[]);
    let url = start(|_, answer| answer.edit = TEXT_IN_A_CALL);
    let ran = sandbox.run(&["replay", "--backend", &url, "--update"]).exits(3);
    assert!(ran.stdout.contains("text_delta in content block 1, which is a tool_use block"), "{}", ran.stdout);
    assert!(!sandbox.path("snapshots").exists());
}

#[test]
fn each_fault_is_named_by_its_kind_and_exit_code() {
    let sandbox = accepted();
    for (kind, code, more, fault) in FAULTS {
        let merged = kind == "calls-merged";
        let sandbox = if merged { accepted_with_two_reads() } else { Sandbox::copy_of(&sandbox) };
        let fault = move |asked: Asked, answer: &mut Answer| {
            if merged {
                two_reads(asked, answer);
            }
            fault(asked, answer);
        };
        let ran = replay(&sandbox, &[more, &["--junit", "out.xml"]].concat(), fault).exits(code);
        let expected: &[&str] = if kind.is_empty() { &[] } else { &[kind] };
        assert_eq!(kinds(&sandbox), expected, "{}", ran.stdout);
        if !kind.is_empty() {
            assert!(ran.stdout.contains(&format!("{kind}: ")), "{}", ran.stdout);
            assert!(sandbox.read("out.xml").contains(&format!("type=\"{kind}\"")), "{}", sandbox.read("out.xml"));
        }
    }
}

fn two_reads(_: Asked, answer: &mut Answer) {
    answer.calls[1] = ("Read".into(), answer.calls[0].1.replace("a.txt", "b.txt"));
}

fn accepted_with_two_reads() -> Sandbox {
    let sandbox = Sandbox::new();
    write_trace(&sandbox, 1, &[]);
    sandbox.run(&["replay", "--backend", &start(two_reads), "--update"]).exits(0);
    sandbox
}

#[test]
fn a_529_now_and_then_is_tried_again_and_counted() {
    let sandbox = accepted();
    let ran = replay(&sandbox, &[], |asked, answer| answer.status = (asked.nth % 2 == 0).then_some(529)).exits(0);
    assert!(ran.stdout.contains("6 requests sent again because the backend was busy"), "{}", ran.stdout);
    assert_eq!((&report(&sandbox)["summary"]["retries"], kinds(&sandbox)), (&json!(6), vec![]));
}

#[test]
fn the_text_that_came_in_place_of_a_call_is_shown_and_in_the_json() {
    let sandbox = accepted();
    let ran = replay(&sandbox, &[], |_, answer| {
        answer.calls.clear();
        answer.text = "I cannot read files.".into();
    })
    .exits(1);
    assert!(ran.stdout.contains("the answer's text is \"I cannot read files.\""), "{}", ran.stdout);
    assert_eq!(report(&sandbox)["cases"][0]["measurements"][0]["text"], "I cannot read files.");
}

#[test]
fn a_flaky_trace_passes_by_wish_if_most_repeats_are_as_accepted() {
    let sandbox = accepted();
    let once = |asked: Asked, answer: &mut Answer| {
        if asked.nth == 3 {
            answer.calls.clear();
        }
    };
    let ran = replay(&sandbox, &["--flaky", "pass", "--junit", "out.xml"], once).exits(0);
    assert!(ran.stdout.contains("PASS") && ran.stdout.contains("flaky, 5/6"), "{}", ran.stdout);
    assert_eq!(report(&sandbox)["cases"][0]["agreement"], json!({"same": 5, "of": 6}));
    let xml = sandbox.read("out.xml");
    assert!(xml.contains("<flakyFailure") && !xml.contains("<failure"), "{xml}");
    // Most repeats are not as accepted.
    let mostly = |asked: Asked, answer: &mut Answer| {
        if asked.nth != 3 {
            answer.calls.clear();
        }
    };
    replay(&sandbox, &["--flaky", "pass"], mostly).exits(1);
}

#[test]
fn a_changed_prompt_waits_for_review_and_can_be_accepted() {
    let sandbox = accepted();
    let url = start(|_, answer| answer.prompt_tokens = 360);
    let replay = || sandbox.run(&["replay", "--backend", &url]);
    replay().exits(1);
    let shown = sandbox.run(&["review", "--accept"]).exits(0);
    assert!(shown.stdout.contains("accepted snapshots/demo__001.snap"), "{shown:?}");
    assert!(sandbox.read("snapshots/demo__001.snap").contains("prompt_tokens: 360"));
    replay().exits(0);
}

/// The times of a baseline are replaced, so that nothing here depends on how fast this machine is.
#[test]
fn times_past_the_baseline_exit_4_and_times_within_it_0() {
    let sandbox = accepted();
    let repeats = ["--repeat", "5", "--phases", "cold"];
    let url = start(|_, _| {});
    let replay = |more: &[&str]| sandbox.run(&[&["replay", "--backend", &url, "--check"], &repeats[..], more].concat());
    replay(&["--json", "old.json"]).exits(0);
    let old: Value = serde_json::from_str(&sandbox.read("old.json")).unwrap();
    let baseline = |us: u64, change: &dyn Fn(&mut Value)| {
        let mut baseline = old.clone();
        for measurement in baseline["cases"][0]["measurements"].as_array_mut().unwrap() {
            (measurement["ttft_us"], measurement["e2e_us"]) = (json!(us), json!(41 * us));
        }
        change(&mut baseline);
        sandbox.write("baseline.json", baseline.to_string());
    };
    let compare = ["--baseline", "baseline.json", "--max-slower", "1.2", "--json", "out.json"];
    baseline(1, &|_| {});
    let slower = replay(&compare).exits(4);
    assert!(slower.stdout.contains("slower") && kinds(&sandbox) == ["slower"], "{}", slower.stdout);
    let no_limit = replay(&compare[..2]).exits(0);
    assert!(no_limit.stdout.contains("no limit"), "{}", no_limit.stdout);
    baseline(3_600_000_000, &|_| {});
    let faster = replay(&compare).exits(0);
    assert!(faster.stdout.contains("ok") && kinds(&sandbox).is_empty(), "{}", faster.stdout);
    baseline(1, &|baseline| drop(baseline["cases"][0]["measurements"].as_array_mut().unwrap().pop()));
    let few = replay(&compare).exits(0);
    assert!(few.stdout.contains("no verdict: it takes 5 repeats on both sides"), "{}", few.stdout);
    baseline(1, &|baseline| baseline["target"]["host"] = json!("elsewhere"));
    let refused = replay(&compare).exits(2);
    assert!(refused.stderr.contains("its times are of elsewhere"), "{}", refused.stderr);
    replay(&[&compare[..], &["--other-host"]].concat()).exits(4);
}

#[test]
fn budgets_of_the_settings_exit_4_where_times_are_over_them() {
    let sandbox = accepted();
    let url = start(|_, _| {});
    let replay = |budget: &str| {
        sandbox.write("anyclaude.toml", format!("[replay.budget]\n{budget}\n"));
        sandbox.run(&["replay", "--backend", &url, "--check", "--json", "out.json"])
    };
    let over = replay("cold.e2e.p50 = '1us'").exits(4);
    assert!(over.stdout.contains("over-budget cold E2E p50 is") && kinds(&sandbox) == ["over-budget"], "{}", over.stdout);
    replay("cold.e2e.p50 = '1000s'").exits(0);
    let unknown = replay("cached.ttft.p99 = '1us'").exits(0);
    assert!(unknown.stdout.contains("cached TTFT p99 is not known: it takes 100 times"), "{}", unknown.stdout);
    let wrong = replay("cold.ttft.p50 = 'soon'").exits(2);
    assert!(wrong.stderr.contains("is no budget"), "{}", wrong.stderr);
}
