//! The task that the client gets for each tool, and whether the traces and the folder show that it was done. Starts no process.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use crate::replay::one_line;
use crate::trace::Trace;

/// A task that takes one certain tool.
pub(super) struct ToolTask {
    /// The tool's name.
    pub tool: &'static str,
    /// What the client is asked to do.
    pub prompt: &'static str,
    /// The name and content of a file that exists before.
    file: Option<(&'static str, &'static str)>,
    proof: Proof,
}

/// What shows that a task was done.
enum Proof {
    /// A result of the tool contains this text.
    Result(&'static str),
    /// The named file contains this text.
    File(&'static str, &'static str),
}

/// How a task ended.
pub(super) enum TaskOutcome {
    Done,
    /// Not done, for this reason in one line.
    NotDone(String),
}

/// The tasks, in the order in which they are run.
pub(super) const TASKS: [ToolTask; 4] = [
    ToolTask {
        tool: "Read",
        prompt: "Read the file hello.txt with the Read tool and tell me the password in it.",
        file: Some(("hello.txt", "The password is swordfish.\n")),
        proof: Proof::Result("swordfish"),
    },
    ToolTask {
        tool: "Write",
        prompt: "Create the file new.txt with the Write tool. Its content is one word: anyclaude",
        file: None,
        proof: Proof::File("new.txt", "anyclaude"),
    },
    ToolTask {
        tool: "Edit",
        prompt: "Read colour.txt, then change red to blue in it with the Edit tool.",
        file: Some(("colour.txt", "colour = red\n")),
        proof: Proof::File("colour.txt", "colour = blue"),
    },
    ToolTask {
        tool: "Bash",
        prompt: "Run the command `echo $((6*7))` with the Bash tool and tell me what it prints.",
        file: None,
        proof: Proof::Result("42"),
    },
];

impl ToolTask {
    /// Writes the file that the task needs into the folder.
    pub(super) fn prepare(&self, folder: &Path) -> io::Result<()> {
        self.file.map_or(Ok(()), |(name, content)| fs::write(folder.join(name), content))
    }

    /// Whether the task was done, going by the client's folder and its traces.
    pub(super) fn judge(&self, folder: &Path, traces: &[Trace]) -> TaskOutcome {
        self.look_for_proof(folder, traces).map_or_else(TaskOutcome::NotDone, |()| TaskOutcome::Done)
    }

    fn look_for_proof(&self, folder: &Path, traces: &[Trace]) -> Result<(), String> {
        let calls = completed_calls(traces);
        let of_tool: Vec<&CompletedCall> = calls.iter().filter(|call| call.tool == self.tool).collect();
        if of_tool.is_empty() {
            return Err(format!("{} was not called; {}", self.tool, instead(traces, &calls)));
        }
        let Some(call) = of_tool.iter().find(|call| !call.is_error) else {
            return Err(format!("{} failed: {}", self.tool, start_of(&of_tool[0].result)));
        };
        match self.proof {
            Proof::Result(text) if of_tool.iter().any(|call| call.result.contains(text)) => Ok(()),
            Proof::Result(text) => Err(format!("no result has {text:?}: {}", start_of(&call.result))),
            Proof::File(name, text) => match fs::read_to_string(folder.join(name)) {
                Ok(content) if content.contains(text) => Ok(()),
                Ok(content) => Err(format!("{name} does not have {text:?}: {}", start_of(&content))),
                Err(error) => Err(format!("{name}: {error}")),
            },
        }
    }
}

/// A call that the client carried out.
struct CompletedCall {
    tool: String,
    is_error: bool,
    result: String,
}

/// The calls whose results the client sent back, in order. Every request repeats the conversation so far, so the longest one has
/// them all.
fn completed_calls(traces: &[Trace]) -> Vec<CompletedCall> {
    let messages = |trace: &Trace| trace.request.body["messages"].as_array().cloned().unwrap_or_default();
    let conversation = traces.iter().map(messages).max_by_key(Vec::len).unwrap_or_default();
    let blocks: Vec<Value> =
        conversation.iter().flat_map(|message| message["content"].as_array().cloned().unwrap_or_default()).collect();
    let result_of = |id: &Value| blocks.iter().find(|block| block["type"] == "tool_result" && block["tool_use_id"] == *id);
    let uses = blocks.iter().filter(|block| block["type"] == "tool_use");
    uses.filter_map(|call| {
        let result = result_of(&call["id"])?;
        let (tool, content) = (call["name"].as_str()?.to_owned(), &result["content"]);
        let result_text = content.as_str().map_or_else(|| content.to_string(), str::to_owned);
        Some(CompletedCall { tool, is_error: result["is_error"] == true, result: result_text })
    })
    .collect()
}

/// What the model did instead of calling the tool.
fn instead(traces: &[Trace], calls: &[CompletedCall]) -> String {
    if !calls.is_empty() {
        let names: Vec<&str> = calls.iter().map(|call| call.tool.as_str()).collect();
        return format!("called {}", names.join(", "));
    }
    let mut texts = traces.iter().rev().filter_map(|trace| {
        let blocks = trace.response.body["content"].as_array()?;
        blocks.iter().find_map(|block| block["text"].as_str()).map(start_of)
    });
    texts.next().map_or_else(|| "no answer came".into(), |text| format!("the answer was: {text}"))
}

/// The start of a text, on one line.
fn start_of(text: &str) -> String {
    const CHARACTERS: usize = 70;
    one_line(text, CHARACTERS)
}
