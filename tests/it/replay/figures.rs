//! The files of figures, for programs and plotters.

use serde_json::{Value, json};

use super::{accepted, healthy, replay};
use crate::support::output::line_of;
use crate::support::replay_backend::{Flaw, ReplayBackend};

#[test]
fn a_backend_without_cache_figures_is_reported_as_unverified() {
    let server = ReplayBackend::with_cache_control(Flaw::NoCacheFigures);
    let ran = replay(&accepted(&server), &server, &[]).exits(0);
    insta::assert_snapshot!(line_of(&ran.stdout, "UNVERIFIED"), @"UNVERIFIED: the backend reports no cache figures, so whether cold, warm and cached happened is not known.");
}

#[test]
fn the_json_file_holds_everything() {
    let server = healthy();
    let sandbox = accepted(&server);
    replay(&sandbox, &server, &["--repeat", "3", "--json", "new/folder/out.json"]).exits(0);
    let report: Value = serde_json::from_str(&sandbox.read("new/folder/out.json")).unwrap();
    assert_eq!(report["version"], 3);
    let target = &report["target"];
    assert_eq!(
        (&target["backend"], &target["model"], &target["states"]),
        (&json!(server.url), &json!("scripted"), &json!("cache_control"))
    );
    assert!(!target["host"].as_str().unwrap().is_empty());
    assert_eq!(report["summary"]["as_accepted"], 2);
    assert_eq!(report["summary"]["skipped"], 1);
    assert_eq!(report["fidelity"], json!({"compared": 2, "same_tools": 2, "same_arguments": 2}));
    let phases: Vec<_> = report["latency"].as_array().unwrap().iter().map(|l| (&l["phase"], &l["ttft"]["count"])).collect();
    assert_eq!(json!(phases), json!([["cold", 6], ["warm", 6], ["cached", 6]]));
    let cases = report["cases"].as_array().unwrap();
    assert_eq!(cases[0]["id"], "demo/001");
    let measurements = cases[0]["measurements"].as_array().unwrap();
    assert_eq!(measurements.len(), 9);
    assert_eq!(measurements[0]["phase"], "cold");
    assert_eq!(measurements[0]["cache_read_tokens"], 0);
    assert_eq!(measurements[0]["outcome"]["tool_use"][0]["name"], "Read");
    // Five content events: two texts, the tool's name, two pieces of its arguments.
    assert_eq!(measurements[0]["gap_us"].as_array().unwrap().len(), 4);
    assert_eq!(measurements[0]["call_us"].as_array().unwrap().len(), 1);
}

#[test]
fn hgrm_files_are_rows_of_four_figures_and_a_footer() {
    let server = healthy();
    let sandbox = accepted(&server);
    replay(&sandbox, &server, &["--repeat", "5", "--hgrm", "hgrm"]).exits(0);
    let expected: Vec<String> =
        ["cached", "cold", "warm"].iter().flat_map(|p| ["e2e", "gap", "tpot", "ttft"].map(|m| format!("{p}-{m}.hgrm"))).collect();
    assert_eq!(sandbox.files("hgrm"), expected);
    let text = sandbox.read("hgrm/cold-ttft.hgrm");
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
