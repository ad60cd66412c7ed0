//! What may go wrong between a team and its model, planted one at a time around the embedded model: in a proxy before its server,
//! in its weights, in its template. The table says by which kinds a replay names each, and with which exit code it fails.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::sureness::UNMOVED;
use crate::support::MODEL;
use crate::support::changed_model::{write_noisy, write_with_template};
use crate::support::demo::write_trace;
use crate::support::faulty_backend::{Asked, Cached};
use crate::support::faulty_proxy::{self, Fault, blocks, set_blocks};
use crate::support::process::Ran;
use crate::support::sandbox::Sandbox;
use crate::support::serving::Serving;

const TWO_READS: &str = "demo/001";
const COMMAND: &str = "demo/002";
const WRITE: &str = "demo/003";

/// What is planted in a proxy, and in which trace it shows.
const IN_A_PROXY: [(&str, &str, Fault); 13] = [
    ("nothing", "demo", Fault::None),
    ("a tool has another name in the prompt", TWO_READS, Fault::Request(|_, request| rename(request, "Read", "read_file"))),
    (
        "an argument is lost",
        WRITE,
        Fault::Answer(|events| edit_input(events, |input| drop(input.as_object_mut().unwrap().remove("content")))),
    ),
    (
        "a path has another prefix",
        WRITE,
        Fault::Answer(|events| edit(events, |json| json.replace("/home/user/project/", "/workspace/"))),
    ),
    ("JSON is escaped twice", COMMAND, Fault::Answer(|events| edit(events, |json| json!(json).to_string()))),
    ("parallel calls come as one", TWO_READS, Fault::Answer(merge_calls)),
    ("parallel calls are swapped", TWO_READS, Fault::Answer(swap_calls)),
    (
        "white space after a command",
        COMMAND,
        Fault::Answer(|events| {
            edit_input(events, |input| input["command"] = json!(format!("{} ", input["command"].as_str().unwrap())))
        }),
    ),
    ("text in place of a call", COMMAND, Fault::Request(|_, request| request["tool_choice"] = json!({"type": "none"}))),
    ("the cache is off by one token", WRITE, Fault::Request(lose_the_last_token_where_all_is_cached)),
    ("529 for every third request", "demo", Fault::Overloaded(|asked| asked.nth % 3 == 0)),
    ("529 for every request", COMMAND, Fault::Overloaded(|_| true)),
    ("the stream is cut", COMMAND, Fault::Cut),
];

#[test]
fn each_fault_around_the_embedded_model_has_its_kind_and_exit_code() {
    let server = Serving::start(MODEL, &[]);
    let accepted = traces();
    accepted.run(&["replay", "--backend", &server.url, "--update"]).exits(0);
    assert_calls(&accepted);
    let mut table = Table::default();
    for (name, trace, fault) in IN_A_PROXY {
        let sandbox = Sandbox::copy_of(&accepted);
        let url = faulty_proxy::start(&server.url, fault);
        table.row(name, &sandbox, &["--backend", &url, "--filter", trace, "--repeat", "2", "--retries", "1"]);
    }
    table.row_of_slower_answers(&accepted, &server.url);
    insta::assert_snapshot!(table.0, @"
    nothing                                                               0
    a tool has another name in the prompt    tool-renamed                 1
    an argument is lost                      argument-lost                1
    a path has another prefix                path-changed                 1
    JSON is escaped twice                    json-escaped-twice           1
    parallel calls come as one               calls-merged                 1
    parallel calls are swapped               calls-reordered              1
    white space after a command              white-space                  1
    text in place of a call                  text-instead-of-call         1
    the cache is off by one token            cache                        1
    529 for every third request                                           0
    529 for every request                    overloaded                   3
    the stream is cut                        stream-cut                   3
    answers come 20% later                   slower                       4
    ");
}

#[test]
fn each_fault_within_the_embedded_model_has_its_kind_and_exit_code() {
    let accepted = traces();
    accepted.run(&["replay", "--model", MODEL, "--update", "--margins", "--json", "before.json"]).exits(0);
    assert_calls(&accepted);
    write_noisy(&accepted.path("noisy"), 0.02);
    write_with_template(&accepted.path("renaming"), "(tool | tojson)", r#"(tool | tojson).replace('"Read"', '"read_file"')"#);
    write_with_template(&accepted.path("without tools"), "(tool | tojson)", "''");
    let mut table = Table::default();
    let sure = ["--phases", "cold", "--baseline", "before.json", "--max-drop", UNMOVED];
    table.row("nothing", &accepted, &[&["--model", MODEL], &sure[..]].concat());
    table.row("2% of noise in the weights", &accepted, &[&["--model", "noisy"], &sure[..]].concat());
    table.row("a tool has another name in the template", &accepted, &["--model", "renaming"]);
    table.row("the template loses the tools", &accepted, &["--model", "without tools"]);
    insta::assert_snapshot!(table.0, @"
    nothing                                                               0
    2% of noise in the weights               less-sure, model-changed     4
    a tool has another name in the template  template-changed             0
    the template loses the tools             prompt-tokens-changed, template-changed 1
    ");
}

#[test]
fn twenty_unchanged_runs_in_a_row_find_nothing() {
    let sandbox = traces();
    sandbox.run(&["replay", "--model", MODEL, "--update", "--margins", "--json", "before.json"]).exits(0);
    for _ in 0..20 {
        let unchanged = ["--model", MODEL, "--phases", "cold", "--baseline", "before.json", "--max-drop", UNMOVED];
        let ran = replay(&sandbox, &unchanged).exits(0);
        assert_eq!(kinds(&sandbox), "", "{}", ran.stdout);
    }
}

/// What was planted, the kinds under which a replay has it, and the exit code.
#[derive(Default)]
struct Table(String);

impl Table {
    fn row(&mut self, name: &str, sandbox: &Sandbox, how: &[&str]) {
        let ran = replay(sandbox, how);
        let line = format!("{name:<40} {:<28} {}", kinds(sandbox), ran.code.unwrap());
        println!("{line}\n{}", ran.stdout);
        self.0 += &format!("{line}\n");
    }

    /// A wait makes answers take 240 ms at least, and the baseline says 200 ms. A busy machine only makes it more.
    fn row_of_slower_answers(&mut self, accepted: &Sandbox, server: &str) {
        let times = ["--filter", COMMAND, "--phases", "cold", "--repeat", "5"];
        replay(accepted, &[&["--backend", server], &times[..]].concat()).exits(0);
        let mut before = report(accepted);
        for measurement in before["cases"][0]["measurements"].as_array_mut().unwrap() {
            (measurement["ttft_us"], measurement["e2e_us"]) = (json!(200_000), json!(210_000));
        }
        accepted.write("before.json", before.to_string());
        let url = faulty_proxy::start(server, Fault::Request(|_, _| thread::sleep(Duration::from_millis(240))));
        let compare = ["--backend", &url, "--baseline", "before.json", "--max-slower", "1.1"];
        self.row("answers come 20% later", accepted, &[&times[..], &compare].concat());
    }
}

fn replay(sandbox: &Sandbox, how: &[&str]) -> Ran {
    sandbox.run(&[&["replay", "--check", "--json", "out.json"], how].concat())
}

fn report(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.read("out.json")).unwrap()
}

/// The names of the kinds that a replay found.
fn kinds(sandbox: &Sandbox) -> String {
    report(sandbox)["summary"]["kinds"].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(", ")
}

/// Three short traces in words that the embedded model knows.
fn traces() -> Sandbox {
    let sandbox = Sandbox::new();
    let system = "You are a careful assistant.\n".repeat(40) + "Primary working directory: /home/user/project\n";
    let tool = |name: &str, arguments: &[&str]| {
        let texts: serde_json::Map<_, _> = arguments.iter().map(|name| (name.to_string(), json!({"type": "string"}))).collect();
        json!({"name": name, "input_schema": {
            "type": "object", "properties": texts, "required": arguments, "additionalProperties": false,
        }})
    };
    let tools = json!([tool("Read", &["file_path"]), tool("Bash", &["command"]), tool("Write", &["file_path", "content"])]);
    let prompts = [
        ("Read", "Compare red.txt and blue.txt"),
        ("Bash", "Run `wc -l data.csv` and tell me what it prints"),
        ("Write", "Create a file notes.md containing `buy milk`"),
    ];
    for (seq, (tool, prompt)) in (1..).zip(prompts) {
        write_trace(
            &sandbox,
            seq,
            &[
                ("/request/body/system/0/text", json!(system)),
                ("/request/body/tools", tools.clone()),
                ("/request/body/messages/0/content", json!(prompt)),
                ("/response/body/content/0/name", json!(tool)),
            ],
        );
    }
    sandbox
}

/// What the model answers is what the faults are planted in.
fn assert_calls(accepted: &Sandbox) {
    let calls = (1..=3).map(|seq| {
        let snapshot = accepted.read(&format!("snapshots/demo__{seq:03}.snap"));
        let (_, outcome) = snapshot.rsplit_once("---\n").unwrap();
        serde_json::from_str::<Value>(outcome).unwrap()["tool_use"].to_string()
    });
    insta::allow_duplicates! {
        insta::assert_snapshot!(calls.collect::<Vec<_>>().join("\n"), @r#"
        [{"name":"Read","input":{"file_path":"/home/user/project/red.txt"}},{"name":"Read","input":{"file_path":"/home/user/project/blue.txt"}}]
        [{"name":"Bash","input":{"command":"wc -l data.csv"}}]
        [{"name":"Write","input":{"content":"buy milk","file_path":"/home/user/project/notes.md"}}]
        "#);
    }
}

/// Gives a tool another name in what the server is asked.
fn rename(request: &mut Value, old: &str, new: &str) {
    *request = serde_json::from_str(&request.to_string().replace(&format!("\"{old}\""), &format!("\"{new}\""))).unwrap();
}

/// The prompt without its last character, where all of it is cached.
fn lose_the_last_token_where_all_is_cached(asked: Asked, request: &mut Value) {
    if asked.cache == Cached::Everything {
        let content = request.pointer_mut("/messages/0/content").unwrap();
        let text = content.as_str().unwrap().strip_suffix("k`").unwrap();
        *content = format!("{text}`").into();
    }
}

/// Changes the arguments of each call, as JSON text.
fn edit(events: &mut Vec<Value>, change: fn(&str) -> String) {
    let mut changed = blocks(events);
    for block in changed.iter_mut().filter(|block| block["type"] == "tool_use") {
        block["input"] = change(block["input"].as_str().unwrap()).into();
    }
    set_blocks(events, &changed);
}

/// Changes the arguments of each call, as a value.
fn edit_input(events: &mut Vec<Value>, change: fn(&mut Value)) {
    let mut changed = blocks(events);
    for block in changed.iter_mut().filter(|block| block["type"] == "tool_use") {
        let mut input = serde_json::from_str(block["input"].as_str().unwrap()).unwrap();
        change(&mut input);
        block["input"] = input.to_string().into();
    }
    set_blocks(events, &changed);
}

fn merge_calls(events: &mut Vec<Value>) {
    let mut merged = blocks(events);
    let second = merged.pop().unwrap();
    let first = merged.last_mut().unwrap();
    first["input"] = format!("{}{}", first["input"].as_str().unwrap(), second["input"].as_str().unwrap()).into();
    set_blocks(events, &merged);
}

fn swap_calls(events: &mut Vec<Value>) {
    let mut swapped = blocks(events);
    let last = swapped.len() - 1;
    swapped.swap(last - 1, last);
    set_blocks(events, &swapped);
}
