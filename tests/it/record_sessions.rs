//! Records the committed traces anew: the real Claude Code client, through `anyclaude record`, against scripted answers.
//!
//! Every file of fixtures/sessions is one session: the user's prompts, the files they are about, and what the upstream answers,
//! in order. The client runs its tools for real in a folder with just those files. The recordings are scrubbed into traces/.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::clients::{claude, with_claude_settings};
use crate::support::sandbox::{Sandbox, repository};
use crate::support::scripted::{Scripted, answer};

/// What of the sessions is recorded: those whose name contains it. Without it nothing is, and no test run rewrites the traces.
const WANTED: &str = "ANYCLAUDE_RECORD_SESSIONS";

/// The folder the client works in, emptied for each session. The path is in the prompts, so it is one that anybody could have.
const WORKDIR: &str = "/home/user/project";

/// The client's home, emptied too. Beside the folder it works in: its path is in the prompts too, and must be the same in all
/// sessions.
const HOME: &str = "/home/user/project.home";

/// One session: what the user asks, and what the upstream answers.
#[derive(Deserialize)]
struct Session {
    prompts: Vec<String>,
    files: BTreeMap<String, String>,
    /// One list of blocks per request of the conversation.
    answers: Vec<Vec<Value>>,
}

#[test]
#[ignore = "rewrites the committed traces: make traces"]
fn the_committed_traces_are_recorded_anew() {
    let wanted = std::env::var(WANTED).unwrap_or_else(|_| panic!("{WANTED} names no session: run make traces"));
    let mut files: Vec<_> = fs::read_dir(repository("fixtures/sessions")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        if name.contains(&wanted) {
            record(name, &serde_json::from_slice(&fs::read(&file).unwrap()).unwrap());
        }
    }
}

fn record(name: &str, session: &Session) {
    for folder in [WORKDIR, HOME].map(Path::new) {
        if folder.exists() {
            fs::remove_dir_all(folder).unwrap();
        }
        fs::create_dir_all(folder).unwrap();
    }
    for (file, content) in &session.files {
        fs::write(Path::new(WORKDIR).join(file), content).unwrap();
    }
    let turns = session.prompts.iter().enumerate().map(|(turn, prompt)| {
        let again = if turn == 0 { "" } else { "--continue" };
        format!("{} {again} -p {} --allowedTools Read,Write,Edit,Bash </dev/null", quoted(claude()), quoted(prompt))
    });
    let turns = turns.collect::<Vec<_>>().join(" && ");

    let (sandbox, upstream) = (Sandbox::new(), upstream(session).serve());
    let raw = sandbox.path("raw");
    let raw = raw.to_str().unwrap();
    let command = ["record", "--upstream", &upstream.url, "--session", name, "--out", raw, "--", "sh", "-c", &turns];
    let mut command = sandbox.anyclaude(&command);
    with_claude_settings(&sandbox, &mut command).current_dir(WORKDIR).env("HOME", HOME);
    command.env("CLAUDE_CONFIG_DIR", Path::new(HOME).join(".claude")).env("ANTHROPIC_API_KEY", "local");
    // As long as it takes: somebody is watching.
    assert!(command.status().unwrap().success(), "{name}");

    let traces = repository("traces");
    if traces.join(name).exists() {
        fs::remove_dir_all(traces.join(name)).unwrap();
    }
    sandbox.run(&["trace", "scrub", raw, "--out", traces.to_str().unwrap()]).exits(0);
}

/// An upstream that gives the session's answers, in order, to the requests that offer tools, and a short text to all others.
fn upstream(session: &Session) -> Scripted {
    let answers = json!(session.answers).to_string().replace("{cwd}", WORKDIR);
    let answers: Vec<Vec<Value>> = serde_json::from_str(&answers).unwrap();
    let answers = Mutex::new(answers.into_iter());
    Scripted::new(move |request| {
        let next = if request.tools.is_empty() { None } else { answers.lock().unwrap().next() };
        Ok(answer(&next.unwrap_or_else(|| vec![json!({"text": "Done."})])))
    })
}

/// The text as one word of a shell command.
fn quoted(text: impl AsRef<OsStr>) -> String {
    format!("'{}'", text.as_ref().to_string_lossy().replace('\'', "'\\''"))
}
