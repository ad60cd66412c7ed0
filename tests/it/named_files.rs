//! Files that options name: what is read is never written over, a file is whole or as before, and `-` is standard output.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::demo::{session, write_trace};
use crate::support::process::Running;
use crate::support::replay_backend::{Flaw, ReplayBackend};

fn healthy() -> ReplayBackend {
    ReplayBackend::with_cache_control(Flaw::None)
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_read_is_not_written_over() {
    let (sandbox, server) = (session(), healthy());
    sandbox.run(&["replay", "--backend", &server.url, "--update", "--json", "a.json"]).exits(0);
    sandbox.run(&["load", "--backend", &server.url, "--concurrency", "1", "--json", "load.json"]).exits(0);
    fs::copy(sandbox.path("a.json"), sandbox.path("b.json")).unwrap();
    std::os::unix::fs::symlink("traces/demo/001.json", sandbox.path("link.json")).unwrap();
    let trace = "traces/demo/001.json";
    let before = ["a.json", "load.json", trace].map(|file| sandbox.read(file));
    let asked = server.requests().len();
    let to_server = ["--backend", &server.url];
    for arguments in [
        &["trace", "export", "--to", "har", "--out", trace, "traces"][..],
        &["trace", "export", "--to", "har", "--out", "link.json"],
        &["compare", "a.json", "b.json", "--json", "a.json"],
        &["report", "merge", "load.json", "--json", "./load.json"],
        &[&["replay", "--json", trace], &to_server[..]].concat(),
        &[&["replay", "--html", trace], &to_server[..]].concat(),
        &[&["replay", "--junit", trace], &to_server[..]].concat(),
        &[&["load", "--concurrency", "1", "--json", trace], &to_server[..]].concat(),
    ] {
        let refusal = sandbox.run(arguments).refusal();
        assert!(refusal.contains("it is one of the files that are read; choose another place"), "{arguments:?}: {refusal}");
    }
    assert_eq!(["a.json", "load.json", trace].map(|file| sandbox.read(file)), before);
    assert_eq!(server.requests().len(), asked);
}

#[test]
fn an_export_that_fails_leaves_the_old_file_and_one_that_succeeds_is_its_owners() {
    let sandbox = session();
    let export = ["trace", "export", "--to", "har", "--out", "out/all.har", "traces"];
    sandbox.write("out/all.har", "old");
    let file = sandbox.path("out/all.har");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    write_trace(&sandbox, 9, &[]);
    let good = sandbox.read("traces/demo/009.json");
    sandbox.write("traces/demo/009.json", good.replace("\"version\": 1", "\"version\": 99"));
    sandbox.run(&export).refusal();
    assert_eq!((sandbox.read("out/all.har").as_str(), names_in(&sandbox.path("out"))), ("old", vec!["all.har".to_owned()]));
    sandbox.write("traces/demo/009.json", good);
    sandbox.run(&export).exits(0);
    let archive: Value = serde_json::from_str(&sandbox.read("out/all.har")).unwrap();
    assert!(!archive["log"]["entries"].as_array().unwrap().is_empty());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names_in(&sandbox.path("out")), ["all.har"]);
}

#[test]
fn a_dash_is_standard_output_and_lines_for_people_are_beside_it() {
    let (sandbox, server) = (session(), healthy());
    sandbox.run(&["replay", "--backend", &server.url, "--update"]).exits(0);
    let to_server = ["--backend", &server.url];
    let ran = sandbox.run(&["trace", "export", "--to", "har", "--out", "-"]).exits(0);
    let archive: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(archive["log"]["version"], json!("1.2"));
    assert!(ran.stderr.starts_with("standard output: "), "{}", ran.stderr);
    let ran = sandbox.run(&[&["load", "--concurrency", "1", "--json", "-"], &to_server[..]].concat()).exits(0);
    assert!(serde_json::from_str::<Value>(&ran.stdout).unwrap()["answered"].as_u64() > Some(0));
    assert!(ran.stderr.contains("Answered "), "{}", ran.stderr);
    sandbox.write("load.json", &ran.stdout);
    let ran = sandbox.run(&["report", "merge", "load.json", "--json", "/dev/stdout"]).exits(0);
    assert!(serde_json::from_str::<Value>(&ran.stdout).is_ok() && ran.stderr.contains("Answered "), "{}", ran.stderr);
    for (option, begin) in [("--junit", "<?xml "), ("--html", "<!DOCTYPE html>")] {
        let ran = sandbox.run(&[&["replay", option, "-"], &to_server[..]].concat()).exits(0);
        assert!(ran.stdout.starts_with(begin) && ran.stderr.contains("Summary "), "{option}: {}", ran.stderr);
    }
    let refusal = sandbox.run(&[&["replay", "--junit", "-", "--json", "-"], &to_server[..]].concat()).refusal();
    insta::assert_snapshot!(refusal, @"exit 2: error: only one of --json, --html and --junit can be `-`; name a file for the others");
    let minimize = ["trace", "minimize", "traces/demo/001.json", "--check", "true", "--out", "-"];
    insta::assert_snapshot!(sandbox.run(&minimize).refusal(), @"exit 2: error: --out -: the trace is written anew whenever a smaller one is found; name a file");
    assert!(!sandbox.path("-").exists());
}

#[test]
fn a_reader_of_an_export_may_leave_early() {
    let sandbox = session();
    for out in ["-", "/dev/stdout", "/dev/fd/1"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let arguments = ["trace", "export", "--to", "har", "--out", out];
        let ran = Running::start_unheard(sandbox.anyclaude(&arguments).stdout(writer).stderr(Stdio::piped())).end();
        assert_eq!(ran.code, Some(0), "{out}: {}", ran.stderr);
    }
}

#[test]
fn reports_have_no_passwords_of_addresses() {
    let (sandbox, server) = (session(), healthy());
    let (password, key) = ("hunter2pw", "zk3vq9xtzk3vq9xtzk3vq9xt");
    let address = format!("{}/", server.url.replace("http://", &format!("http://bob:{password}@")));
    let files = ["--json", "a.json", "--html", "a.html", "--junit", "a.xml"];
    let told = sandbox.run(&[&["replay", "--backend", &address, "--update"], &files[..]].concat()).exits(0);
    let load = sandbox.run(&["load", "--backend", &address, "--concurrency", "1", "--json", "load.json"]).exits(0);
    let broken = format!("{address}?api_key={key}");
    let several = ["replay", "--backend", &broken, "--backend", &format!("here={address}"), "--check", "--json", "two.json"];
    let two = sandbox.run(&several);
    let compared = sandbox.run(&["compare", "a.json", "a.json"]).exits(0);
    let said = [told, load, two, compared].map(|ran| ran.stdout + &ran.stderr);
    let written = ["a.json", "a.html", "a.xml", "load.json", "two.json"].map(|file| sandbox.read(file));
    for text in said.iter().chain(&written) {
        assert!(text.contains("[redacted]@127.0.0.1") || !text.contains("127.0.0.1"), "{text}");
        assert!(!text.contains(password) && !text.contains(key), "{text}");
    }
    assert!(written.iter().all(|text| text.contains("bob:[redacted]@127.0.0.1")));
}
