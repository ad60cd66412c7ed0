//! `claude plugin eval`, as docs/plugin-eval.md has it: the clients that it starts ask the mode's model, and are recorded.

use anyclaude::trace;

use crate::support::clients::launch_claude;
use crate::support::output::line_of;
use crate::support::sandbox::{Sandbox, repository};

/// The block of the page that begins with this line, without its indent.
fn block(page: &str, first: &str) -> String {
    let lines = page.lines().skip_while(|line| line.trim_start() != first);
    lines.map_while(|line| line.strip_prefix("    ")).flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn a_plugin_is_evaluated_on_the_embedded_model_and_its_requests_are_recorded() {
    let page = std::fs::read_to_string(repository("docs/plugin-eval.md")).unwrap();
    let sandbox = Sandbox::new();
    sandbox.write(".claude-plugin/plugin.json", r#"{"name": "greeter", "version": "0.1.0", "description": "Greets"}"#);
    sandbox.write("evals/read-hello/prompt.md", "Read the file hello.txt and say what it says.\n");
    sandbox.write("evals/read-hello/case.yaml", block(&page, "schema_version: \"1.0\""));

    let evaluation = ["plugin", "eval", ".", "--trust-plugin", "--ablation", "none", "--runs", "1", "--threshold", "0.9"];
    let ran = launch_claude(&sandbox, &["--record"], &evaluation);

    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    let said = format!("{}\n{}", ran.stdout, ran.stderr);
    insta::assert_snapshot!(line_of(&said, "✓ reads-the-file"), @"✓ reads-the-file (weight 1): Read called 1x (expected 1..∞)");
    let recorded = trace::find(&[sandbox.home(".anyclaude/traces/mlx")]).unwrap();
    let asked: Vec<String> = recorded.iter().map(|file| trace::read(file).unwrap().request.body.to_string()).collect();
    assert!(asked.len() >= 2 && asked.iter().any(|body| body.contains("say what it says")), "{}", asked.len());
}
