//! What the client is asked to do for each tool, and how the traces and the folder show that it was done. No processes here.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use crate::trace::Trace;

/// A tool, and a task that takes just it.
pub struct Task {
    /// The tool's name.
    pub tool: &'static str,
    /// What the client is told.
    pub prompt: &'static str,
    /// A file that is there before, with its content.
    file: Option<(&'static str, &'static str)>,
    proof: Proof,
}

/// What shows that a task was done.
enum Proof {
    /// A result of the tool has this text.
    Result(&'static str),
    /// This file has this text.
    File(&'static str, &'static str),
}

/// The tasks, in the order in which they are run.
pub const TASKS: [Task; 4] = [
    Task {
        tool: "Read",
        prompt: "Read the file hello.txt with the Read tool and tell me the password in it.",
        file: Some(("hello.txt", "The password is swordfish.\n")),
        proof: Proof::Result("swordfish"),
    },
    Task {
        tool: "Write",
        prompt: "Create the file new.txt with the Write tool. Its content is one word: anyclaude",
        file: None,
        proof: Proof::File("new.txt", "anyclaude"),
    },
    Task {
        tool: "Edit",
        prompt: "Read colour.txt, then change red to blue in it with the Edit tool.",
        file: Some(("colour.txt", "colour = red\n")),
        proof: Proof::File("colour.txt", "colour = blue"),
    },
    Task {
        tool: "Bash",
        prompt: "Run the command `echo $((6*7))` with the Bash tool and tell me what it prints.",
        file: None,
        proof: Proof::Result("42"),
    },
];

impl Task {
    /// Puts what it needs into the folder.
    pub fn prepare(&self, folder: &Path) -> io::Result<()> {
        self.file.map_or(Ok(()), |(name, content)| fs::write(folder.join(name), content))
    }

    /// Whether it was done, or why not in one line.
    pub fn judge(&self, folder: &Path, traces: &[Trace]) -> Result<(), String> {
        let calls = calls(traces);
        let of_tool: Vec<&Call> = calls.iter().filter(|call| call.tool == self.tool).collect();
        if of_tool.is_empty() {
            return Err(format!("{} was not called; {}", self.tool, instead(traces, &calls)));
        }
        let Some(call) = of_tool.iter().find(|call| !call.is_error) else {
            return Err(format!("{} failed: {}", self.tool, one_line(&of_tool[0].result)));
        };
        match self.proof {
            Proof::Result(text) if of_tool.iter().any(|call| call.result.contains(text)) => Ok(()),
            Proof::Result(text) => Err(format!("no result has {text:?}: {}", one_line(&call.result))),
            Proof::File(name, text) => match fs::read_to_string(folder.join(name)) {
                Ok(content) if content.contains(text) => Ok(()),
                Ok(content) => Err(format!("{name} does not have {text:?}: {}", one_line(&content))),
                Err(error) => Err(format!("{name}: {error}")),
            },
        }
    }
}

/// A call that the client carried out.
struct Call {
    tool: String,
    is_error: bool,
    result: String,
}

/// The calls whose results the client sent back, in order. Every request repeats the conversation: the longest one tells all.
fn calls(traces: &[Trace]) -> Vec<Call> {
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
        Some(Call { tool, is_error: result["is_error"] == true, result: result_text })
    })
    .collect()
}

/// What came instead of a call.
fn instead(traces: &[Trace], calls: &[Call]) -> String {
    if !calls.is_empty() {
        let names: Vec<&str> = calls.iter().map(|call| call.tool.as_str()).collect();
        return format!("called {}", names.join(", "));
    }
    let mut texts = traces.iter().rev().filter_map(|trace| {
        let blocks = trace.response.body["content"].as_array()?;
        blocks.iter().find_map(|block| block["text"].as_str()).map(one_line)
    });
    texts.next().map_or_else(|| "no answer came".into(), |text| format!("the answer was: {text}"))
}

/// The start of a text, on one line.
fn one_line(text: &str) -> String {
    const CHARACTERS: usize = 70;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}
