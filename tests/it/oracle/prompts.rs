//! Prompts against transformers: with the templates of `fixtures/templates`, with real tokenizers and their templates, which
//! `make oracle` fetches, and with those of a folder of your own, if `TEMPLATES` names one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use anyclaude::engine::decode::ToolFormatName;
use anyclaude::engine::text::{ChatTemplate, Tokenizer};
use anyclaude::wire::MessagesRequest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::sandbox::repository;

/// The tokenizers that `make oracle` fetches.
const FETCHED: [&str; 5] = ["qwen3", "qwen2_5", "llama3_2", "mistral_nemo", "deepseek_v3"];

/// The same conversation as a request and as transformers is given it.
#[derive(Deserialize)]
struct Conversation {
    name: String,
    request: MessagesRequest,
    messages: Value,
    tools: Value,
    thinking: bool,
    /// What the prompt has to show, in this order.
    facts: Vec<String>,
}

/// How a template did with a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// As transformers renders the conversation as it is.
    Equal,
    /// That is refused, or shows less than there is: it was changed, and is as transformers renders the changed one.
    EqualOnceShaped,
    /// The same, but something is still not shown.
    NotAllShown,
    /// Both refuse it.
    Refused,
    /// transformers refuses it, and we do not: what is none or undefined is taken more lightly here.
    OnlyOurs,
    /// Not as transformers renders it.
    Different,
}

/// transformers, in a process of its own.
struct Reference {
    process: Child,
    asked: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Reference {
    fn start() -> Self {
        let python = repository("target/oracle/venv/bin/python");
        let mut command = Command::new(python);
        command.arg(repository("tests/oracle/reference.py")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("make oracle makes the reference");
        let (asked, answers) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, asked, answers }
    }

    fn ask(&mut self, what: Value) -> Value {
        writeln!(self.asked, "{what}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("the reference answers {answer:?} to {what}: {error}"))
    }

    fn conversations(&mut self, kind: &str) -> Vec<Conversation> {
        serde_json::from_value(self.ask(json!({"conversations": true}))[kind].take()).unwrap()
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A template, loaded.
struct Subject {
    name: String,
    source: String,
    tokens: Value,
    tokenizer: Arc<Tokenizer>,
    template: ChatTemplate,
}

impl Subject {
    fn outcome(&self, conversation: &Conversation, reference: &mut Reference) -> (Outcome, String) {
        let Conversation { request, messages, tools, thinking, facts, .. } = conversation;
        let mut rendered = |messages: &Value, tools: &Value| {
            let asked =
                json!({"source": self.source, "tokens": self.tokens, "messages": messages, "tools": tools, "thinking": thinking});
            reference.ask(asked)
        };
        let as_given = rendered(messages, tools);
        let ours = match self.template.render(request) {
            Ok(ours) => ours,
            Err(error) if as_given["text"].is_null() => return (Outcome::Refused, error.to_string()),
            Err(error) => return (Outcome::Different, error.to_string()),
        };
        if as_given["text"] == ours {
            return (Outcome::Equal, String::new());
        }
        let shaped = rendered(&self.template.messages(request).unwrap().into(), &self.template.tools(request).into());
        match shaped["text"].as_str() {
            None => (Outcome::OnlyOurs, shaped["error"].to_string()),
            Some(text) if text != ours => (Outcome::Different, first_difference(text, &ours)),
            Some(text) => match missing(text, facts) {
                None => (Outcome::EqualOnceShaped, String::new()),
                Some(fact) => (Outcome::NotAllShown, format!("{fact:?} is not shown")),
            },
        }
    }

    /// Whether the template is told something differently for no reason: as given it takes and shows everything.
    fn is_shaped_needlessly(&self, conversations: &[Conversation], reference: &mut Reference) -> bool {
        let usual = self.template.traits() == Default::default();
        !usual && conversations.iter().all(|Conversation { messages, tools, thinking, facts, .. }| {
            let asked =
                json!({"source": self.source, "tokens": self.tokens, "messages": messages, "tools": tools, "thinking": thinking});
            reference.ask(asked)["text"].as_str().is_some_and(|text| missing(text, facts).is_none())
        })
    }
}

/// The first fact that the prompt does not show after those before it.
fn missing<'a>(mut prompt: &str, facts: &'a [String]) -> Option<&'a String> {
    facts.iter().find(|fact| match prompt.find(fact.as_str()) {
        Some(at) => {
            prompt = &prompt[at + fact.len()..];
            false
        }
        None => true,
    })
}

fn first_difference(theirs: &str, ours: &str) -> String {
    let same = theirs.chars().zip(ours.chars()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| text.chars().skip(same.saturating_sub(20)).take(60).collect::<String>();
    format!("transformers: {:?}, ours: {:?}", around(theirs), around(ours))
}

/// A model folder's template with its own tokenizer.
fn fetched(name: &str) -> Subject {
    let folder = repository("target/oracle").join(name).join("models");
    let config: Value = serde_json::from_slice(&std::fs::read(folder.join("tokenizer_config.json")).unwrap()).unwrap();
    let text = |token: &Value| token["content"].as_str().or(token.as_str()).map(str::to_owned);
    let tokens = ["bos_token", "eos_token", "pad_token", "unk_token"].map(|name| Some((name, text(&config[name])?)));
    let tokenizer = Tokenizer::load(&folder).unwrap();
    Subject {
        name: name.into(),
        source: config["chat_template"].as_str().unwrap().into(),
        tokens: tokens.into_iter().flatten().map(|(name, text)| (name.to_owned(), json!(text))).collect(),
        template: ChatTemplate::load(&folder, &tokenizer).unwrap(),
        tokenizer,
    }
}

/// A template by itself, or why it does not load.
fn alone(file: &Path, tokenizer: &Arc<Tokenizer>) -> Result<Subject, String> {
    let folder = tempfile::tempdir().unwrap();
    let tokens = json!({"bos_token": "<s>", "eos_token": "</s>"});
    let source = std::fs::read_to_string(file).unwrap();
    std::fs::write(folder.path().join("chat_template.jinja"), &source).unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), tokens.to_string()).unwrap();
    let template = ChatTemplate::load(folder.path(), tokenizer).map_err(|error| error.to_string())?;
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    Ok(Subject { name, source, tokens, tokenizer: tokenizer.clone(), template })
}

/// All templates below a folder, but for copies.
fn below(folder: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(|entry| entry.unwrap().into_path());
    let mut sources = std::collections::HashSet::new();
    files
        .filter(|file| file.extension().is_some_and(|is| is == "jinja") && sources.insert(std::fs::read(file).unwrap()))
        .collect()
}

/// The outcomes, a line for each template.
fn compare(subjects: &[Subject], reference: &mut Reference) -> BTreeMap<Outcome, Vec<String>> {
    let conversations = reference.conversations("conversations");
    let mut all: BTreeMap<Outcome, Vec<String>> = BTreeMap::new();
    println!("{:<50} equal  shaped  lost  refused  only ours  different  calls", "template");
    for subject in subjects {
        let mut counts = [0; 6];
        for conversation in &conversations {
            let (outcome, detail) = subject.outcome(conversation, reference);
            counts[outcome as usize] += 1;
            all.entry(outcome).or_default().push(format!("{}, {}: {detail}", subject.name, conversation.name));
        }
        if subject.is_shaped_needlessly(&conversations, reference) {
            all.entry(Outcome::Different).or_default().push(format!("{}: shaped for no reason", subject.name));
        }
        let [equal, shaped, lost, refused, only_ours, different] = counts;
        let (traits, format) = (subject.template.traits(), ToolFormatName::written_by(&subject.template, &subject.tokenizer));
        let calls = format.map_or("none", ToolFormatName::name);
        println!(
            "{:<50} {equal:>5} {shaped:>7} {lost:>5} {refused:>8} {only_ours:>10} {different:>10}  {calls:<11}  {traits}",
            subject.name
        );
    }
    all
}

/// How often each outcome came about, and the cases from this one on.
fn print(outcomes: &BTreeMap<Outcome, Vec<String>>, from: Outcome) {
    for (outcome, cases) in outcomes {
        println!("{outcome:?}: {}", cases.len());
        if *outcome >= from {
            cases.iter().for_each(|case| println!("  {case}"));
        }
    }
}

#[test]
#[ignore = "needs the reference: make oracle"]
fn prompts_are_those_of_transformers() {
    let mut reference = Reference::start();
    let tiny = Tokenizer::load(&repository("fixtures/models/tiny")).unwrap();
    let committed = below(&repository("fixtures/templates"));
    let committed = committed.iter().map(|file| alone(file, &tiny).unwrap_or_else(|error| panic!("{error}")));
    let subjects: Vec<Subject> = committed.chain(FETCHED.map(fetched)).collect();
    let outcomes = compare(&subjects, &mut reference);
    print(&outcomes, Outcome::NotAllShown);
    let wrong = [Outcome::Refused, Outcome::Different].map(|outcome| outcomes.get(&outcome).map_or(0, Vec::len));
    assert_eq!(wrong, [0, 0]);
}

#[test]
#[ignore = "needs the reference: make oracle"]
fn prompts_have_the_tokens_that_transformers_gives_them() {
    let mut reference = Reference::start();
    let texts = reference.conversations("texts");
    for subject in FETCHED.map(fetched) {
        for conversation in reference.conversations("conversations").iter().chain(&texts) {
            let prompt = subject.template.render(&conversation.request).unwrap();
            let folder = repository("target/oracle").join(&subject.name).join("models");
            let theirs = &reference.ask(json!({"folder": folder, "text": prompt}))["ids"];
            assert_eq!(
                json!(subject.tokenizer.encode(&prompt).unwrap()),
                *theirs,
                "{}, {}: {prompt}",
                subject.name,
                conversation.name
            );
        }
    }
}

#[test]
#[ignore = "needs the reference, and a folder of templates in TEMPLATES: make oracle"]
fn prompts_of_your_own_templates() {
    let Some(folder) = std::env::var_os("TEMPLATES") else { return };
    let tiny = Tokenizer::load(&repository("fixtures/models/tiny")).unwrap();
    let mut subjects = Vec::new();
    for file in below(Path::new(&folder)) {
        match alone(&file, &tiny) {
            Ok(subject) => subjects.push(subject),
            Err(error) => println!("{}: {error}", file.display()),
        }
    }
    print(&compare(&subjects, &mut Reference::start()), Outcome::OnlyOurs);
}
