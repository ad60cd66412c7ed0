//! `anyclaude doctor`: what is here, what is missing, and what to do about it.

#[cfg(feature = "mlx")]
mod mlx;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use console::style;
use tokio::process::Command;

use super::model_folder::{ModelFolder, in_words};
use super::{CliError, print};

/// Say what this machine has of what anyclaude needs, and what to do about the rest
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  anyclaude doctor --model path/to/model")]
pub struct Args {
    /// Model to look at: a folder, or the name of a pulled one
    #[arg(long, value_name = "DIR|NAME", default_value = "fixtures/models/tiny")]
    model: PathBuf,
}

/// One line of the result.
struct Finding {
    what: &'static str,
    state: State,
}

/// How something was found.
enum State {
    /// It is there; this is what it is.
    Found(String),
    /// Something works without it, but not everything.
    Lacking { what: String, remedy: String },
    /// Nothing works without it.
    Missing { what: String, remedy: String },
}

/// How long `claude --version` may take.
const CLIENT_PATIENCE: Duration = Duration::from_secs(20);

/// Prints the findings. Exit code 3 where something needed is missing.
pub async fn run(args: Args) -> Result<ExitCode, CliError> {
    let mut findings = vec![Finding { what: "anyclaude", state: State::Found(env!("CARGO_PKG_VERSION").into()) }];
    findings.extend(engine().await?);
    findings.push(Finding { what: "model", state: model(args.model) });
    findings.push(Finding { what: "client", state: client().await });
    print(&findings.iter().map(line).collect::<String>())?;
    let whole = !findings.iter().any(|finding| matches!(finding.state, State::Missing { .. }));
    Ok(ExitCode::from(if whole { 0 } else { 3 }))
}

#[cfg(feature = "mlx")]
async fn engine() -> Result<Vec<Finding>, CliError> {
    tokio::task::spawn_blocking(mlx::findings).await.map_err(CliError::backend)
}

#[cfg(not(feature = "mlx"))]
async fn engine() -> Result<Vec<Finding>, CliError> {
    let what = "built without it: record, and replay against servers, work; serve and replay in process do not".into();
    let remedy = "build with the default features".into();
    Ok(vec![Finding { what: "MLX", state: State::Lacking { what, remedy } }])
}

fn model(folder: PathBuf) -> State {
    match ModelFolder::find(&folder).and_then(|folder| ModelFolder::inspect(&folder)) {
        Ok(ModelFolder { kind, weight_files, weight_bytes, parameters, vocabulary }) => State::Found(format!(
            "{}: {kind}, {} parameters, {} MB of weights in {weight_files} file(s), tokenizer of {vocabulary} entries",
            folder.display(),
            in_words(parameters),
            weight_bytes.div_ceil(1_000_000),
        )),
        Err(error) => {
            let remedy = "name one with --model DIR; the repository has fixtures/models/tiny".into();
            let what = error.to_string();
            if cfg!(feature = "mlx") { State::Missing { what, remedy } } else { State::Lacking { what, remedy } }
        }
    }
}

async fn client() -> State {
    let remedy = "install it: npm install -g @anthropic-ai/claude-code".to_owned();
    let asked = Command::new("claude").arg("--version").kill_on_drop(true).output();
    let lacking = |what: String| State::Lacking { what, remedy };
    match tokio::time::timeout(CLIENT_PATIENCE, asked).await {
        Ok(Ok(output)) if output.status.success() => State::Found(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Ok(Ok(output)) => lacking(format!("`claude --version` failed: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Ok(Err(_)) => lacking("no `claude` on PATH".into()),
        Err(_) => lacking(format!("`claude --version` said nothing in {} s", CLIENT_PATIENCE.as_secs())),
    }
}

fn line(Finding { what, state }: &Finding) -> String {
    let (mark, detail, remedy) = match state {
        State::Found(detail) => (style("ok     ").green(), detail, None),
        State::Lacking { what, remedy } => (style("lacking").yellow(), what, Some(remedy)),
        State::Missing { what, remedy } => (style("missing").red(), what, Some(remedy)),
    };
    let mut line = format!("{mark}  {what:<9}  {detail}\n");
    if let Some(remedy) = remedy {
        line.push_str(&format!("{:<20}{remedy}\n", ""));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_as_words() {
        for (count, words) in [(459_776, "460 thousand"), (1_720_000_000, "1.7 billion"), (596_049_920, "596.0 million")] {
            assert_eq!(in_words(count), words);
        }
    }
}
