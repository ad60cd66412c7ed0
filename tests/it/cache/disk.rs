//! The prefix cache across restarts, through the built binary: kept, killed, damaged, of another model.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::deadline::{receive, until};
use crate::support::http::{self, client, get, post};
use crate::support::output::{line_of, uncounted};
use crate::support::sandbox::Sandbox;
use crate::support::serving::Serving;
use crate::support::{MODEL, TRACES};

/// The same beginning for all, then some hundred tokens of each one's own.
fn conversation(number: usize) -> Value {
    json!({
        "model": "claude-opus-5-5", "max_tokens": 12, "temperature": 0,
        "system": "You are a helper who reads and writes files. ".repeat(80),
        "messages": [{"role": "user", "content": format!("Read file {number}, then the next one. ").repeat(40)}]
    })
}

/// The answer's content, and how many tokens of the prompt were cached.
fn ask(url: &str, number: usize) -> (Value, u64) {
    try_to_ask(url, number).unwrap()
}

/// The same, of a server that may go away meanwhile.
fn try_to_ask(url: &str, number: usize) -> Result<(Value, u64), reqwest::Error> {
    let request = client().post(format!("{url}/v1/messages")).json(&conversation(number));
    let message = http::send(request)?.succeeds().json();
    Ok((message["content"].clone(), message["usage"]["cache_read_input_tokens"].as_u64().unwrap_or(0)))
}

fn serve(folder: &TempDir) -> Serving {
    Serving::start(MODEL, &["--cache-dir", folder.path().to_str().unwrap()])
}

fn report(server: &Serving) -> Value {
    get(&format!("{}/cache", server.url)).json()
}

fn disk(server: &Serving) -> Value {
    report(server)["disk"].clone()
}

/// Returns when nothing more is read ahead from disk.
fn wait_until_read(server: &Serving) {
    until("the end of reading ahead", || (report(server)["reading_ahead"] == false).then_some(()));
}

/// What a server that knows nothing answers.
fn cold_answers(count: usize) -> Vec<Value> {
    let server = Serving::start(MODEL, &["--cache", "0"]);
    (0..count).map(|number| ask(&server.url, number).0).collect()
}

fn files(folder: &TempDir) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "safetensors")).collect()
}

#[test]
fn a_restarted_server_knows_the_conversation_and_tells_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(&folder);
    let (answer, cached) = ask(&server.url, 1);
    assert_eq!(cached, 0);
    let (_, known) = ask(&server.url, 1);
    let (other, shared) = ask(&server.url, 2);
    assert!(shared > 500 && shared < known, "{shared} of {known}");
    let kept = report(&server);
    let said = server.stop("INT").stderr;
    assert!(said.contains(", 0 tokens read from there\n"), "{said}");
    insta::assert_snapshot!(uncounted(line_of(&said, "cache: ")), @"cache: 2 of 3 prompts hit, N% of all prompt tokens known, about [time] saved; 2 kept in N MB, 0 evicted; N MB on disk, N tokens read from there");

    // Conversations are read before anybody asks.
    let server = serve(&folder);
    wait_until_read(&server);
    assert_eq!(report(&server)["bytes"], kept["bytes"]);
    let ahead = disk(&server);
    assert_eq!(ask(&server.url, 1), (answer.clone(), known));
    let (again, all) = ask(&server.url, 2);
    assert!(again == other && all > shared, "{all}");
    assert_eq!(disk(&server), ahead);
    server.stop("TERM");

    // Where there is room for one, that is the one used last, read before the server listens; the one before is read when it is
    // asked for.
    let server = Serving::start(MODEL, &["--cache-dir", folder.path().to_str().unwrap(), "--cache-entries", "1"]);
    let ahead = disk(&server);
    assert!(ahead["hits"] == 0 && ahead["tokens"].as_u64() > Some(shared), "{ahead}");
    let (again, all) = ask(&server.url, 2);
    assert!(again == other && all > shared, "{all}");
    assert_eq!(disk(&server), ahead);
    assert_eq!(ask(&server.url, 1), (answer, known));
    let disk = disk(&server);
    assert_eq!((&disk["hits"], &disk["dropped"]), (&json!(1), &json!(0)), "{disk}");
    assert!(disk["tokens"].as_u64() > ahead["tokens"].as_u64(), "{disk}");
    assert!(disk["bytes"].as_u64() > Some(500_000) && disk["entries"].as_u64() > Some(1), "{disk}");
    let metrics = get(&format!("{}/metrics", server.url)).text;
    assert!(metrics.contains("anyclaude_cache_disk_hits_total 1\n"), "{metrics}");

    // Clearing forgets the disk too: what comes next is cold, and stays so after a restart.
    post(&format!("{}/cache/clear", server.url), &Value::Null).succeeds();
    server.stop("TERM");
    assert!(files(&folder).is_empty());
    let server = serve(&folder);
    assert_eq!(ask(&server.url, 1).1, 0);
}

#[test]
fn nobody_else_can_read_what_lies_there() {
    let (outer, umask) = (tempfile::tempdir().unwrap(), rustix::process::umask(rustix::fs::Mode::empty()));
    let folder = outer.path().join("a/cache");
    let server = Serving::start(MODEL, &["--cache-dir", folder.to_str().unwrap()]);
    rustix::process::umask(umask);
    ask(&server.url, 1);
    server.stop("TERM");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&outer.path().join("a"))), (0o700, 0o700));
    let files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 3 && folder.join("tokens").exists());
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn the_warm_up_uses_the_disk() {
    let trace = format!("{TRACES}/follow-up/0001.json");
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--cache-dir", folder.path().to_str().unwrap(), "--warm", &trace];
    for computed in [true, false] {
        let server = Serving::start(MODEL, &arguments);
        let report = until("the warm-up", || {
            let report = report(&server);
            let tokens = report["disk"]["tokens"].as_u64().unwrap() + report["computed_tokens"].as_u64().unwrap();
            (tokens > 1000 && report["warming"].is_null()).then_some(report)
        });
        assert_eq!(report["computed_tokens"].as_u64() > Some(1000), computed, "{report}");
        server.stop("TERM");
    }
}

#[test]
fn after_a_kill_while_saving_and_damage_to_the_files_answers_are_those_of_a_cold_run() {
    const COUNT: usize = 4;
    let expected = cold_answers(COUNT);
    let folder = tempfile::tempdir().unwrap();
    let mut seed = 1_u64;
    for round in 0..4 {
        let server = serve(&folder);
        // Killed once this number of clients has its answer, while the other prompts are being computed and saved.
        let (answered, answers) = mpsc::channel();
        for number in 0..COUNT {
            let (url, answered) = (server.url.clone(), answered.clone());
            thread::spawn(move || answered.send((number, try_to_ask(&url, number))));
        }
        for _ in 0..=round {
            let (number, answer) = receive("an answer", &answers);
            assert_eq!(answer.unwrap().0, expected[number], "conversation {number} in round {round}");
        }
        drop(server);
        // A byte in every other file, a cut in some.
        for (index, path) in files(&folder).iter().enumerate().filter(|(index, _)| (index + round) % 2 == 0) {
            let mut bytes = fs::read(path).unwrap();
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (seed >> 33) as usize % bytes.len();
            if index % 5 == 4 {
                bytes.truncate(at)
            } else {
                bytes[at] ^= 0x10
            }
            fs::write(path, bytes).unwrap();
        }
    }
    let server = serve(&folder);
    for (number, expected) in expected.iter().enumerate() {
        assert_eq!(&ask(&server.url, number).0, expected, "conversation {number}");
    }
    let ran = server.stop("TERM");
    assert!(files(&folder).len() > 2, "{ran:?}");
    // Now all is known. What no prompt needs may still be damaged.
    let server = serve(&folder);
    for (number, expected) in expected.iter().enumerate() {
        let (answer, cached) = ask(&server.url, number);
        assert!(&answer == expected && cached > 500, "conversation {number}: {cached} cached");
    }
}

#[test]
fn a_second_server_on_the_folder_and_another_model_leave_it_sound() {
    let folder = tempfile::tempdir().unwrap();
    let first = serve(&folder);
    let (answer, _) = ask(&first.url, 1);
    let second = serve(&folder);
    assert!(disk(&second).is_null(), "one at a time");
    assert_eq!(ask(&second.url, 1), (answer, 0));
    second.stop("TERM");
    first.stop("TERM");

    let model = tempfile::tempdir().unwrap();
    for file in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(Path::new(MODEL).join(file), model.path().join(file)).unwrap();
    }
    let weights = model.path().join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).unwrap();
    let other = Serving::start(model.path().to_str().unwrap(), &["--cache-dir", folder.path().to_str().unwrap()]);
    let disk = disk(&other);
    assert!(disk["entries"] == 0 && disk["dropped"].as_u64() > Some(1), "{disk}");
    assert_eq!(ask(&other.url, 1).1, 0);
}

#[test]
fn a_folder_that_cannot_be_used_is_one_line_and_exit_2() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "");
    let ran = sandbox.run(&["serve", "--model", MODEL, "--port", "0", "--cache-dir", "file/cache"]).exits(2);
    insta::assert_snapshot!(sandbox.portable(&ran.stderr), @"
    loading [repository]/fixtures/models/tiny
    error: file/cache: Not a directory (os error [number]): choose another folder with --cache-dir
    ");
}
