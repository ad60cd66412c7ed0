//! `anyclaude replay` as its users run it: the built binary, real sockets, real files.

#[path = "support/replay_backend.rs"]
mod replay_backend;
#[path = "support/workspace.rs"]
mod workspace;

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use replay_backend::{Flaw, ReplayBackend};
use workspace::{Ran, Workspace, changed_lines};

/// Replays against the server.
fn replay(workspace: &Workspace, server: &ReplayBackend, more: &[&str]) -> Ran {
    workspace.run(&[&["replay", "--backend", &server.url], more].concat())
}

/// A workspace whose snapshots were accepted on this server.
fn accepted(server: &ReplayBackend) -> Workspace {
    let workspace = Workspace::with_traces();
    replay(&workspace, server, &["--update"]).exits(0).says(&["UPDATED"]);
    workspace
}

fn healthy() -> ReplayBackend {
    ReplayBackend::with_cache_control(Flaw::None)
}

#[test]
fn replay_exits_0_when_everything_is_as_accepted() {
    let server = healthy();
    let workspace = accepted(&server);
    replay(&workspace, &server, &[]).exits(0).says(&[
        "Replaying 2 traces × cold, warm, cached against http://",
        "(model scripted)",
        "PASS demo/001  Read ",
        "PASS demo/002  (no tool) ",
        "same tools 2 of 2 (100.0%)",
        "same arguments 2 of 2 (100.0%)",
        "2 traces: 2 as accepted, 1 skipped (no answered Messages request)",
    ]);
    assert_eq!(workspace.files("snapshots"), ["demo__001.snap", "demo__002.snap"]);
}

#[test]
fn a_server_without_cache_control_is_salted_and_the_report_says_so() {
    let server = ReplayBackend::without_cache_control(Flaw::None);
    let workspace = accepted(&server);
    // The second replay finds the first one's prompts cached, salts or not.
    replay(&workspace, &server, &["--repeat", "2"])
        .exits(0)
        .says(&["2 as accepted", "cold and warm were made by salting the prompt's start"]);
}

#[test]
fn requests_are_greedy_capped_streamed_and_force_the_recorded_tool() {
    let server = healthy();
    replay(&Workspace::with_traces(), &server, &["--filter", "demo/001", "--max-tokens", "99"]).exits(1);
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    for request in requests {
        let body = serde_json::to_value(&request).unwrap();
        assert_eq!(body["temperature"], 0.0);
        assert_eq!(body["max_tokens"], 99);
        assert_eq!(body["stream"], true);
        assert_eq!(body["tool_choice"]["name"], "Read");
        assert_eq!(body["model"], "claude-opus");
        assert_eq!(body.get("thinking"), None);
    }
}

/// Anthropic refuses the fields that a beta brings, unless its name is sent.
#[test]
fn the_betas_that_were_recorded_are_sent_again() {
    let server = healthy();
    let workspace = Workspace::with_traces();
    replay(&workspace, &server, &["--phases", "cold", "--filter", "002"]).exits(1);
    assert_eq!(server.betas(), "");
    workspace.write_trace(1, &[("/request/headers", json!({"anthropic-beta": "effort-1, tools-2"}))]);
    workspace.write_trace(2, &[("/request/headers", json!({"anthropic-beta": "tools-2,more-3"}))]);
    replay(&workspace, &server, &["--phases", "cold"]).exits(1);
    assert_eq!(server.betas(), "effort-1,tools-2,more-3");
}

#[test]
fn with_tool_choice_auto_the_model_decides_and_fidelity_tells() {
    let server = healthy();
    replay(&Workspace::with_traces(), &server, &["--tool-choice", "auto", "--model", "other", "--filter", "001"])
        .exits(1)
        .says(&["Bash", "same tools 0 of 1 (0.0%)"]);
    assert!(server.requests().iter().all(|request| request.model == "other"));
}

#[test]
fn replay_exits_1_when_a_tool_name_changed_and_shows_that_line() {
    let server = healthy();
    let workspace = accepted(&server);
    let snapshot = workspace.read("snapshots/demo__001.snap");
    workspace.write("snapshots/demo__001.snap", &snapshot.replace(r#""name": "Read""#, r#""name": "Write""#));
    let ran = replay(&workspace, &server, &[]).exits(1).says(&[
        "CHANGED demo/001",
        "PASS demo/002",
        "--- snapshots/demo__001.snap (accepted)",
        "+++ snapshots/demo__001.snap.new (this replay)",
        "1 as accepted, 1 changed",
        "run `anyclaude review` to accept or reject 1 pending snapshot",
    ]);
    assert_eq!(changed_lines(&ran.stdout), [r#"-      "name": "Write","#, r#"+      "name": "Read","#]);
    assert_eq!(workspace.files("snapshots"), ["demo__001.snap", "demo__001.snap.new", "demo__002.snap"]);
    // Where it is as accepted again, the pending snapshot is no longer true.
    workspace.write("snapshots/demo__001.snap", &snapshot);
    replay(&workspace, &server, &[]).exits(0);
    assert_eq!(workspace.files("snapshots"), ["demo__001.snap", "demo__002.snap"]);
}

#[test]
fn changed_words_are_emphasised_where_colours_are_wanted() {
    let server = healthy();
    let workspace = accepted(&server);
    let snapshot = workspace.read("snapshots/demo__001.snap");
    workspace.write("snapshots/demo__001.snap", &snapshot.replace("hello.txt\"", "hallo.txt\""));
    let mut command = workspace.command(&["replay", "--backend", &server.url, "--check"]);
    let ran: Ran = command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1").output().unwrap().into();
    // Red, bold, underlined: only the word that changed.
    ran.exits(1).says(&["\u{1b}[31m\u{1b}[1m\u{1b}[4mhallo", "\u{1b}[32m\u{1b}[1m\u{1b}[4mhello"]);
}

#[test]
fn a_trace_without_snapshot_waits_for_review() {
    let server = healthy();
    let workspace = Workspace::with_traces();
    replay(&workspace, &server, &[]).exits(1).says(&[
        "NEW demo/001",
        "2 new",
        "run `anyclaude review` to accept or reject 2 pending",
    ]);
    assert_eq!(workspace.files("snapshots"), ["demo__001.snap.new", "demo__002.snap.new"]);
    insta::assert_snapshot!(workspace.read("snapshots/demo__001.snap.new"), @r#"
    ---
    source: anyclaude replay
    description: Please read hello.txt
    expression: tool_choice recorded, max_tokens 256
    info:
      model: scripted
      tool_format: messages
    input_file: traces/demo/001.json
    ---
    {
      "stop_reason": "tool_use",
      "tool_use": [
        {
          "name": "Read",
          "input": {
            "file_path": "hello.txt"
          }
        }
      ]
    }
    "#);
    // Once accepted, only what review needed is gone.
    workspace.run(&["review", "--accept"]).exits(0);
    assert!(!workspace.read("snapshots/demo__001.snap").contains("expression"));
    replay(&workspace, &server, &[]).exits(0);
}

#[test]
fn in_ci_and_under_check_nothing_is_written() {
    let server = healthy();
    let workspace = Workspace::with_traces();
    let args = ["replay", "--backend", &server.url];
    let in_ci: Ran = workspace.command(&args).env("CI", "true").output().unwrap().into();
    in_ci.exits(1).says(&["NEW demo/001", "2 new", "replay on your machine without --check"]);
    replay(&workspace, &server, &["--check"]).exits(1).says(&["2 new"]);
    assert_eq!(workspace.files("snapshots"), [""; 0]);
    let update: Ran = workspace.command(&[&args[..], &["--update"]].concat()).env("CI", "1").output().unwrap().into();
    update.exits(2).fails_with(&["--update with CI set"]);
}

#[test]
fn a_backend_that_is_down_exits_3_and_names_the_address() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    Workspace::with_traces().run(&["replay", "--backend", &url]).exits(3).fails_with(&[&url, "is the server running?"]);
}

#[test]
fn a_backend_that_fails_exits_3_and_the_other_traces_are_tried() {
    for (flaw, reason) in [
        (Flaw::Overloaded, "overloaded_error: try later"),
        (Flaw::BreaksDown, "api_error: out of memory"),
        (Flaw::BreaksOff, "the stream ended without message_stop"),
    ] {
        let server = ReplayBackend::with_cache_control(flaw);
        replay(&Workspace::with_traces(), &server, &[]).exits(3).says(&["FAIL demo/001", "FAIL demo/002", reason, "2 failed"]);
    }
}

#[test]
fn a_backend_that_goes_away_stops_the_replay_and_what_was_measured_is_printed() {
    let server = ReplayBackend::with_cache_control(Flaw::DisconnectsAfterOne);
    let workspace = Workspace::with_traces();
    replay(&workspace, &server, &["--json", "out.json"])
        .exits(3)
        .says(&["FAIL demo/001", "TTFT, cold", "1 failed, 1 not run"])
        .fails_with(&[&server.url, "is the server running?"]);
    let report: Value = serde_json::from_str(&workspace.read("out.json")).unwrap();
    assert_eq!(report["cases"][0]["measurements"][0]["phase"], "cold");
}

#[test]
fn a_phase_that_did_not_happen_exits_3_and_gives_no_number() {
    for (flaw, phases, reason) in [
        (Flaw::NoCache, "cold,cached", "cached did not happen in repeat 1: 0 of "),
        (Flaw::NoCache, "warm", "warm did not happen in repeat 1: 0 of "),
        (Flaw::NeverForgets, "cold", "cold did not happen in repeat 2: "),
    ] {
        let server = ReplayBackend::with_cache_control(flaw);
        let workspace = Workspace::with_traces();
        let more = ["--phases", phases, "--repeat", "2", "--filter", "001", "--json", "out.json"];
        replay(&workspace, &server, &more).exits(3).says(&["PHASE demo/001", reason, "1 phase failure"]);
        let report: Value = serde_json::from_str(&workspace.read("out.json")).unwrap();
        let failed = report["cases"][0]["phase_failures"][0]["phase"].clone();
        let counted = report["latency"].as_array().unwrap().iter().find(|latency| latency["phase"] == failed);
        // NeverForgets is cold once.
        let expected = if flaw == Flaw::NeverForgets { Some(json!(1)) } else { None };
        assert_eq!(counted.map(|latency| latency["ttft"]["count"].clone()), expected);
    }
}

#[test]
fn a_backend_without_cache_figures_is_reported_as_unverified() {
    let server = ReplayBackend::with_cache_control(Flaw::NoCacheFigures);
    replay(&accepted(&server), &server, &[]).exits(0).says(&["UNVERIFIED: the backend reports no cache figures"]);
}

#[test]
fn different_blocks_in_different_phases_are_a_cache_failure() {
    let server = healthy();
    let workspace = accepted(&server);
    let server = ReplayBackend::with_cache_control(Flaw::WrongWhenCached);
    let ran = replay(&workspace, &server, &["--phases", "cold,cached"]).exits(1).says(&[
        "CACHE demo/001",
        "PASS demo/002",
        "cache failure: one prompt, different tool calls",
        "--- cold, repeat 1",
        "+++ cached, repeat 1",
        "1 cache failure",
    ]);
    let expected = [r#"-        "file_path": "hello.txt""#, r#"+        "file_path": "wrong.txt""#];
    assert_eq!(changed_lines(&ran.stdout), expected);
    // Even if asked to, nothing is accepted from phases that disagree.
    let empty = Workspace::with_traces();
    replay(&empty, &server, &["--phases", "cold,cached", "--update", "--filter", "001"]).exits(1);
    assert_eq!(empty.files("snapshots"), [""; 0]);
}

#[test]
fn repeats_must_agree_too() {
    let server = ReplayBackend::with_cache_control(Flaw::Fickle);
    replay(&Workspace::with_traces(), &server, &["--phases", "cold", "--repeat", "2", "--filter", "001"]).exits(1).says(&[
        "CACHE demo/001",
        "--- cold, repeat 1",
        "+++ cold, repeat 2",
    ]);
}

#[test]
fn input_that_cannot_be_read_exits_2_and_names_the_file() {
    let server = healthy();
    let url = server.url.as_str();
    let truncated = Workspace::with_traces();
    let whole = truncated.read("traces/demo/001.json");
    truncated.write("traces/demo/001.json", &whole[..whole.len() / 2]);
    let other_version = Workspace::with_traces();
    other_version.write("traces/demo/001.json", &whole.replacen("\"version\": 1", "\"version\": 99", 1));
    let broken_snapshot = Workspace::with_traces();
    broken_snapshot.write("snapshots/demo__001.snap", "---\nsource: x\n---\n{\n");
    let only_skipped = Workspace::empty();
    only_skipped.write_trace(1, &[("/response/status", json!(500))]);
    let unfinished = Workspace::empty();
    unfinished.write("traces/demo/0001.json.partial", "");
    let compressed = Workspace::empty();
    compressed.write("traces/demo/0001.json.zst", "no zstd");
    let table: [(&Workspace, &[&str], &[&str]); 13] = [
        (&truncated, &["--backend", url], &["traces/demo/001.json"]),
        (&other_version, &["--backend", url], &["traces/demo/001.json", "99"]),
        (&broken_snapshot, &["--backend", url], &["snapshots/demo__001.snap", "the content is not a snapshot's JSON"]),
        (&only_skipped, &["--backend", url], &["traces: nothing to replay; skipped 1"]),
        (&Workspace::empty(), &["--backend", url], &["traces"]),
        (&Workspace::with_traces(), &["--backend", url, "--filter", "nothing"], &["no trace matches --filter nothing"]),
        (&Workspace::with_traces(), &["--backend", "elsewhere"], &["--backend elsewhere: neither `mlx` nor a URL"]),
        (&Workspace::with_traces(), &["--backend", "ftp://elsewhere"], &["--backend ftp://elsewhere: neither `mlx` nor a URL"]),
        (&Workspace::with_traces(), &["--backend", url, "--json", "traces"], &["cannot write traces: ", "--json"]),
        (&Workspace::with_traces(), &["--backend", url, "--hgrm", "traces/demo/001.json"], &["001.json", "--hgrm"]),
        (&Workspace::with_traces(), &["--backend", url, "--snapshots", "traces/demo/001.json"], &["001.json", "check the path"]),
        (&unfinished, &["--backend", url], &["traces/demo/0001.json.partial", "anyclaude trace recover traces/demo"]),
        (&compressed, &["--backend", url], &["traces/demo/0001.json.zst", "it was cut short or edited"]),
    ];
    for (workspace, args, expected) in table {
        workspace.run(&[&["replay"], args].concat()).exits(2).fails_with(expected);
    }
}

#[cfg(feature = "mlx")]
#[test]
fn a_model_folder_without_a_file_exits_2_and_names_it() {
    let workspace = Workspace::with_traces();
    workspace.write("model/config.json", "{}");
    let ran = workspace.run(&["replay", "--model", "model"]);
    ran.exits(2).fails_with(&["model/tokenizer.json is missing", "--model names the model's folder"]);
}

#[test]
fn wrong_usage_exits_2() {
    for args in [
        &["--phases", "tepid"][..],
        &["--repeat", "0"],
        &["--max-tokens", "0"],
        &["--update", "--check"],
        &["--tool-choice", "some"],
    ] {
        let ran = Workspace::empty().run(&[&["replay"], args].concat()).exits(2);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    }
}

#[test]
fn a_signal_ends_it_with_what_was_measured() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let server = ReplayBackend::with_cache_control(Flaw::HangsAfterOne);
        let workspace = Workspace::with_traces();
        let args = ["replay", "--backend", &server.url, "--json", "out.json", "--hgrm", "hgrm"];
        let child = workspace.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while server.requests().len() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let killed = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let ran: Ran = child.wait_with_output().unwrap().into();
        ran.exits(code).says(&["STOPPED demo/001", "TTFT, cold", "1 stopped, 1 not run"]);
        let report: Value = serde_json::from_str(&workspace.read("out.json")).unwrap();
        assert_eq!(report["cases"][0]["measurements"].as_array().unwrap().len(), 1);
        assert_eq!(workspace.files("hgrm"), ["cold-e2e.hgrm", "cold-itl.hgrm", "cold-ttft.hgrm"]);
    }
}

#[test]
fn the_json_file_holds_everything() {
    let server = healthy();
    let workspace = accepted(&server);
    replay(&workspace, &server, &["--repeat", "3", "--json", "new/folder/out.json"]).exits(0);
    let report: Value = serde_json::from_str(&workspace.read("new/folder/out.json")).unwrap();
    assert_eq!(report["version"], 2);
    assert_eq!(report["target"], json!({"backend": server.url, "model": "scripted", "states": "cache_control"}));
    assert_eq!(report["summary"]["as_accepted"], 2);
    assert_eq!(report["summary"]["skipped"], 1);
    assert_eq!(report["fidelity"], json!({"compared": 2, "same_tools": 2, "same_arguments": 2}));
    let phases: Vec<_> = report["latency"].as_array().unwrap().iter().map(|l| (&l["phase"], &l["ttft"]["count"])).collect();
    assert_eq!(json!(phases), json!([["cold", 6], ["warm", 6], ["cached", 6]]));
    let cases = report["cases"].as_array().unwrap();
    assert_eq!(cases[0]["id"], json!({"session": "demo", "seq": 1}));
    let measurements = cases[0]["measurements"].as_array().unwrap();
    assert_eq!(measurements.len(), 9);
    assert_eq!(measurements[0]["phase"], "cold");
    assert_eq!(measurements[0]["cache_read_tokens"], 0);
    assert_eq!(measurements[0]["outcome"]["tool_use"][0]["name"], "Read");
    // Five content events: two texts, the tool's name, two pieces of its arguments.
    assert_eq!(measurements[0]["itl_us"].as_array().unwrap().len(), 4);
}

#[test]
fn hgrm_files_are_rows_of_four_figures_and_a_footer() {
    let server = healthy();
    let workspace = accepted(&server);
    replay(&workspace, &server, &["--repeat", "5", "--hgrm", "hgrm"]).exits(0);
    let expected: Vec<String> =
        ["cached", "cold", "warm"].iter().flat_map(|p| ["e2e", "itl", "ttft"].map(|m| format!("{p}-{m}.hgrm"))).collect();
    assert_eq!(workspace.files("hgrm"), expected);
    let text = workspace.read("hgrm/cold-ttft.hgrm");
    let (header, rest) = text.split_once("\n\n").unwrap();
    assert_eq!(header.split_whitespace().collect::<Vec<_>>(), ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]);
    let rows: Vec<Vec<f64>> = rest
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().map(|figure| figure.parse().unwrap()).collect())
        .collect();
    let (last, others) = rows.split_last().unwrap();
    assert_eq!((last[1], last[2]), (1.0, 10.0));
    assert!(others.iter().all(|row| row.len() == 4), "{text}");
    assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1]), "{text}");
    assert!(text.contains("#[Mean    =") && text.contains("Total count    =           10]"), "{text}");
}
