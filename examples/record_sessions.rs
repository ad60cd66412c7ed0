//! Records the committed traces anew: the real Claude Code client, through `anyclaude record`, against scripted answers.
//!
//!     cargo run --example record_sessions -- --client target/clients/node_modules/.bin/claude
//!
//! Every file of fixtures/sessions is one session: the user's prompts, the files they are about, and what the upstream answers,
//! in order. The client runs its tools for real in a folder with just those files. The recordings are scrubbed into traces/.

#[path = "../tests/support/scripted.rs"]
mod scripted;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyclaude::server::ServerOptions;
use clap::Parser;
use scripted::{Scripted, answer};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

#[derive(Parser)]
struct Args {
    /// The Claude Code client.
    #[arg(long, default_value = "claude")]
    client: PathBuf,
    /// The folder of the session files.
    #[arg(long, default_value = "fixtures/sessions")]
    sessions: PathBuf,
    /// Where the scrubbed traces go.
    #[arg(long, default_value = "traces")]
    out: PathBuf,
    /// The folder the client works in, emptied for each session, and so is the client's home beside it. The path is in the
    /// prompts, so it should be one that anybody could have.
    #[arg(long, default_value = "/home/user/project")]
    workdir: PathBuf,
    /// Only sessions whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

/// One session: what the user asks, and what the upstream answers.
#[derive(Deserialize)]
struct Session {
    prompts: Vec<String>,
    files: BTreeMap<String, String>,
    /// One list of blocks per request of the conversation.
    answers: Vec<Vec<Value>>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&args.sessions)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.sort();
    for file in files {
        let name = file.file_stem().ok_or("a session file without a name")?.to_string_lossy().into_owned();
        if name.contains(&args.only) {
            record(&args, &name, serde_json::from_slice(&std::fs::read(&file)?)?).await.map_err(|e| format!("{name}: {e}"))?;
        }
    }
    Ok(())
}

async fn record(args: &Args, name: &str, session: Session) -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let raw = scratch.path().join("traces");
    // Beside the folder it works in: its path is in the prompts too, and must be the same in all sessions.
    let home = args.workdir.with_extension("home");
    for folder in [&home, &args.workdir] {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
    }
    for (file, content) in &session.files {
        std::fs::write(args.workdir.join(file), content)?;
    }

    let upstream = upstream(&session, &args.workdir).serve(ServerOptions::default()).await;
    let mut turns = Vec::new();
    for (turn, prompt) in session.prompts.iter().enumerate() {
        let again = if turn == 0 { "" } else { "--continue" };
        turns.push(format!(
            "{} {again} -p {} --allowedTools Read,Write,Edit,Bash </dev/null",
            quoted(&std::path::absolute(&args.client)?),
            quoted(prompt)
        ));
    }
    let anyclaude = std::path::absolute("target/debug/anyclaude")?;
    let status = Command::new(&anyclaude)
        .args(["record", "--upstream", &upstream.url, "--session", name, "--out"])
        .arg(&raw)
        .args(["--", "sh", "-c", &turns.join(" && ")])
        .current_dir(&args.workdir)
        .env("HOME", &home)
        .env("CLAUDE_CONFIG_DIR", home.join(".claude"))
        .env("ANTHROPIC_API_KEY", "local")
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .status()
        .await?;
    if !status.success() {
        return Err(format!("the recording ended with {status}").into());
    }
    let target = args.out.join(name);
    if target.exists() {
        std::fs::remove_dir_all(&target)?;
    }
    let status = Command::new(&anyclaude).args(["trace", "scrub"]).arg(&raw).arg("--out").arg(&args.out).status().await?;
    if !status.success() {
        return Err(format!("scrubbing ended with {status}").into());
    }
    Ok(())
}

/// An upstream that gives the session's answers, in order, to the requests that offer tools, and a short text to all others.
fn upstream(session: &Session, workdir: &Path) -> Scripted {
    let cwd = workdir.to_string_lossy();
    let answers = session.answers.iter().map(|blocks| {
        let text = json!(blocks).to_string().replace("{cwd}", &cwd);
        serde_json::from_str::<Vec<Value>>(&text).unwrap_or_default()
    });
    let answers = Mutex::new(answers.collect::<Vec<_>>().into_iter());
    Scripted::new(move |request| {
        let next = if request.tools.is_empty() { None } else { answers.lock().ok().and_then(|mut answers| answers.next()) };
        Ok(answer(&next.unwrap_or_else(|| vec![json!({"text": "Done."})])))
    })
}

/// The text as one word of a shell command.
fn quoted(text: impl AsRef<std::ffi::OsStr>) -> String {
    format!("'{}'", text.as_ref().to_string_lossy().replace('\'', "'\\''"))
}
