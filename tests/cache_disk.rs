//! The prefix cache across restarts, through the built binary: kept, killed, damaged, of another model.

#![cfg(feature = "mlx")]

#[path = "support/binary.rs"]
mod binary;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use binary::Serving;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny");

/// The same beginning for all, then some hundred tokens of each one's own.
fn conversation(number: usize) -> Value {
    json!({
        "model": "claude-opus-5-5", "max_tokens": 12, "temperature": 0,
        "system": "You are a helper who reads and writes files. ".repeat(80),
        "messages": [{"role": "user", "content": format!("Read file {number}, then the next one. ").repeat(40)}]
    })
}

/// The answer's content, and how many tokens of the prompt were cached.
async fn ask(url: &str, body: &Value) -> Result<(Value, u64), reqwest::Error> {
    let response = reqwest::Client::new().post(format!("{url}/v1/messages")).json(body).send().await?;
    let message: Value = response.error_for_status()?.json().await?;
    Ok((message["content"].clone(), message["usage"]["cache_read_input_tokens"].as_u64().unwrap_or(0)))
}

fn serve(folder: &Path) -> Serving {
    Serving::start(MODEL, &["--cache-dir", folder.to_str().unwrap()])
}

async fn disk(server: &Serving) -> Value {
    let report: Value = reqwest::get(format!("{}/cache", server.url)).await.unwrap().json().await.unwrap();
    report["disk"].clone()
}

/// What the disk was used for when nothing more is read ahead.
async fn settled(server: &Serving) -> Value {
    let mut before = Value::Null;
    loop {
        let now = disk(server).await;
        if now == before {
            return now;
        }
        before = now;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

async fn stop(server: Serving, signal: &'static str) -> String {
    tokio::task::spawn_blocking(move || server.stop(signal).1).await.unwrap()
}

/// What a server that knows nothing answers.
async fn cold_answers(count: usize) -> Vec<Value> {
    let server = Serving::start(MODEL, &["--cache", "0"]);
    let mut answers = Vec::new();
    for number in 0..count {
        answers.push(ask(&server.url, &conversation(number)).await.unwrap().0);
    }
    answers
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "safetensors")).collect()
}

#[tokio::test]
async fn a_restarted_server_knows_the_conversation_and_tells_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    let (answer, cached) = ask(&server.url, &conversation(1)).await.unwrap();
    assert_eq!(cached, 0);
    let (_, known) = ask(&server.url, &conversation(1)).await.unwrap();
    let (other, shared) = ask(&server.url, &conversation(2)).await.unwrap();
    assert!(shared > 500 && shared < known, "{shared} of {known}");
    let said = stop(server, "INT").await;
    assert!(said.contains(" MB on disk, 0 tokens read from there"), "{said}");

    // Conversations are read before anybody asks.
    let server = serve(folder.path());
    let ahead = settled(&server).await;
    assert_eq!(ask(&server.url, &conversation(1)).await.unwrap(), (answer.clone(), known));
    let (again, all) = ask(&server.url, &conversation(2)).await.unwrap();
    assert!(again == other && all > shared, "{all}");
    assert_eq!(disk(&server).await, ahead);
    stop(server, "TERM").await;

    // Where there is room for one, that is the one used last; the one before is read when it is asked for.
    let server = Serving::start(MODEL, &["--cache-dir", folder.path().to_str().unwrap(), "--cache-entries", "1"]);
    let ahead = settled(&server).await;
    assert!(ahead["hits"] == 0 && ahead["tokens"].as_u64() > Some(shared), "{ahead}");
    let (again, all) = ask(&server.url, &conversation(2)).await.unwrap();
    assert!(again == other && all > shared, "{all}");
    assert_eq!(disk(&server).await, ahead);
    assert_eq!(ask(&server.url, &conversation(1)).await.unwrap(), (answer, known));
    let disk = disk(&server).await;
    assert_eq!((&disk["hits"], &disk["dropped"]), (&json!(1), &json!(0)), "{disk}");
    assert!(disk["tokens"].as_u64() > ahead["tokens"].as_u64(), "{disk}");
    assert!(disk["bytes"].as_u64() > Some(500_000) && disk["entries"].as_u64() > Some(1), "{disk}");
    let metrics = reqwest::get(format!("{}/metrics", server.url)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("anyclaude_cache_disk_hits_total 1\n"), "{metrics}");

    // Clearing forgets the disk too: what comes next is cold, and stays so after a restart.
    reqwest::Client::new().post(format!("{}/cache/clear", server.url)).send().await.unwrap().error_for_status().unwrap();
    stop(server, "TERM").await;
    assert!(entries(folder.path()).is_empty());
    let server = serve(folder.path());
    assert_eq!(ask(&server.url, &conversation(1)).await.unwrap().1, 0);
}

#[tokio::test]
async fn the_warm_up_uses_the_disk() {
    let trace = concat!(env!("CARGO_MANIFEST_DIR"), "/traces/follow-up/0001.json");
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--cache-dir", folder.path().to_str().unwrap(), "--warm", trace];
    for computed in [true, false] {
        let server = Serving::start(MODEL, &arguments);
        let cache = async || reqwest::get(format!("{}/cache", server.url)).await.unwrap().json::<Value>().await.unwrap();
        let report = loop {
            let report = cache().await;
            let read = report["disk"]["tokens"].as_u64().unwrap() + report["computed_tokens"].as_u64().unwrap();
            if read > 1000 && report["warming"].is_null() {
                break report;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert_eq!(report["computed_tokens"].as_u64() > Some(1000), computed, "{report}");
        stop(server, "TERM").await;
    }
}

#[tokio::test]
async fn after_a_kill_while_saving_and_damage_to_the_files_answers_are_those_of_a_cold_run() {
    const COUNT: usize = 4;
    let expected = cold_answers(COUNT).await;
    let folder = tempfile::tempdir().unwrap();
    let mut seed = 1_u64;
    for round in 0..4 {
        let server = serve(folder.path());
        // Killed when so many have answered: the others are being computed and saved.
        let asked: Vec<_> = (0..COUNT)
            .map(|number| {
                let url = server.url.clone();
                tokio::spawn(async move { (number, ask(&url, &conversation(number)).await) })
            })
            .collect();
        let mut answered = 0;
        for task in asked {
            if let (number, Ok((answer, _))) = task.await.unwrap() {
                assert_eq!(answer, expected[number], "conversation {number} in round {round}");
                answered += 1;
            }
            if answered > round {
                break;
            }
        }
        drop(server);
        // A byte in every other file, a cut in some.
        for (index, path) in entries(folder.path()).iter().enumerate().filter(|(index, _)| (index + round) % 2 == 0) {
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
    let server = serve(folder.path());
    for (number, expected) in expected.iter().enumerate() {
        assert_eq!(&ask(&server.url, &conversation(number)).await.unwrap().0, expected, "conversation {number}");
    }
    settled(&server).await;
    let said = stop(server, "TERM").await;
    assert!(entries(folder.path()).len() > 2, "{said}");
    // Now all is known. What no prompt needs may still be damaged.
    let server = serve(folder.path());
    for (number, expected) in expected.iter().enumerate() {
        let (answer, cached) = ask(&server.url, &conversation(number)).await.unwrap();
        assert!(&answer == expected && cached > 500, "conversation {number}: {cached} cached");
    }
}

#[tokio::test]
async fn a_second_server_on_the_folder_and_another_model_leave_it_sound() {
    let folder = tempfile::tempdir().unwrap();
    let first = serve(folder.path());
    let (answer, _) = ask(&first.url, &conversation(1)).await.unwrap();
    let second = serve(folder.path());
    assert!(disk(&second).await.is_null(), "one at a time");
    assert_eq!(ask(&second.url, &conversation(1)).await.unwrap(), (answer, 0));
    stop(second, "TERM").await;
    stop(first, "TERM").await;

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
    let disk = disk(&other).await;
    assert!(disk["entries"] == 0 && disk["dropped"].as_u64() > Some(1), "{disk}");
    assert_eq!(ask(&other.url, &conversation(1)).await.unwrap().1, 0);
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_one_line_and_exit_2() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let folder = file.path().join("cache");
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("anyclaude"));
    let output = command.args(["serve", "--model", MODEL, "--port", "0", "--cache-dir"]).arg(&folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let said = console::strip_ansi_codes(said.lines().last().unwrap()).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.starts_with(&format!("error: {}: ", folder.display())), "{said}");
    assert!(said.ends_with(": choose another folder with --cache-dir"), "{said}");
}
