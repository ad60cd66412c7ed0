//! `anyclaude config`: where values come from, and what is wrong with those that cannot be.

use serde_json::{Value, json};

use crate::support::output::line_of;
use crate::support::process::run;
use crate::support::sandbox::{Sandbox, portable};

/// The value of a setting and where it came from.
fn setting(sandbox: &Sandbox, variables: &[(&str, &str)], key: &str) -> (Value, String) {
    let ran = run(sandbox.anyclaude(&["config", "show", "--json"]).envs(variables.iter().copied())).exits(0);
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    (shown[key]["value"].clone(), sandbox.portable(shown[key]["from"].as_str().unwrap()))
}

#[test]
fn environment_wins_over_project_over_home_over_default() {
    let sandbox = Sandbox::new();
    assert_eq!(setting(&sandbox, &[], "port"), (json!(0), "default".into()));
    sandbox.write_home(".anyclauderc.json", r#"{"port": 1, "record": true}"#);
    assert_eq!(setting(&sandbox, &[], "port"), (json!(1), "[home]/.anyclauderc.json".into()));
    sandbox.write("anyclaude.toml", "port = 2\n");
    assert_eq!(setting(&sandbox, &[], "port"), (json!(2), "[project]/anyclaude.toml".into()));
    assert_eq!(setting(&sandbox, &[("ANYCLAUDE_PORT", "3")], "port"), (json!(3), "environment, ANYCLAUDE_PORT".into()));
    assert_eq!(setting(&sandbox, &[], "record"), (json!(true), "[home]/.anyclauderc.json".into()));
}

#[test]
fn a_list_in_the_environment_has_commas() {
    let (value, _) = setting(&Sandbox::new(), &[("ANYCLAUDE_TOOLS_ONLY", "Read, Edit")], "tools_only");
    assert_eq!(value, json!(["Read", "Edit"]));
}

#[test]
fn modes_have_parts_of_their_own() {
    let sandbox = Sandbox::new();
    sandbox.write("anyclaude.toml", "fallback = [\"openrouter\"]\n\n[modes.openrouter]\nmodel = \"qwen/qwen3-coder\"\n");
    assert_eq!(setting(&sandbox, &[], "modes").0["openrouter"]["model"], "qwen/qwen3-coder");
    assert_eq!(setting(&sandbox, &[("ANYCLAUDE_FALLBACK", "lmstudio,mlx")], "fallback").0, json!(["lmstudio", "mlx"]));
}

#[test]
fn patterns_of_secrets_are_shown_and_a_wrong_one_stops_what_would_write_without_it() {
    let sandbox = Sandbox::new();
    sandbox.write("anyclaude.toml", "[redact]\npatterns = ['ACME-[0-9]+']\n");
    let (value, origin) = setting(&sandbox, &[], "redact");
    assert_eq!((value, origin), (json!({"patterns": ["ACME-[0-9]+"]}), "[project]/anyclaude.toml".into()));
    sandbox.write("anyclaude.toml", "[redact]\npatterns = ['(']\n");
    for arguments in [&["record", "--port", "0"][..], &["trace", "scrub", "--out", "clean", "traces"], &["replay", "traces"]] {
        let refused = sandbox.portable(&sandbox.run(arguments).refusal());
        insta::allow_duplicates! { insta::assert_snapshot!(refused, @"exit 2: error: [project]/anyclaude.toml:2:12: the pattern `(` is no regular expression: unclosed group") }
    }
}

#[test]
fn a_project_adds_to_the_patterns_of_secrets_and_takes_none_away() {
    let sandbox = Sandbox::new();
    sandbox.write_home(".anyclauderc.json", r#"{"redact": {"patterns": ["HOME-[0-9]+"]}}"#);
    sandbox.write_home("anyclaude.toml", "[redact]\npatterns = ['ACME-[0-9]+']\n");
    let home = "[home]/.anyclauderc.json, [home]/anyclaude.toml";
    for (text, project, origin) in [
        ("", &[][..], home),
        ("[redact]\n", &[], home),
        ("[redact]\npatterns = []\n", &[], home),
        ("redact.patterns = ['TEAM-[0-9]+']\n", &["TEAM-[0-9]+"], &format!("{home}, [project]/anyclaude.toml")),
    ] {
        sandbox.write("anyclaude.toml", text);
        let patterns = [&["HOME-[0-9]+", "ACME-[0-9]+"], project].concat();
        assert_eq!(setting(&sandbox, &[], "redact"), (json!({"patterns": patterns}), origin.into()), "{text}");
    }
    let (value, origin) = setting(&sandbox, &[("ANYCLAUDE_REDACT", r#"{patterns=["MINE"]}"#)], "redact");
    assert_eq!(value["patterns"].as_array().unwrap().len(), 4, "{value}");
    assert!(origin.ends_with("anyclaude.toml, environment, ANYCLAUDE_REDACT"), "{origin}");
}

#[test]
fn flags_win_over_everything() {
    let sandbox = Sandbox::new();
    // A server of this machine is asked first whether it listens.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", server.local_addr().unwrap());
    let file = json!({"mode": "mlx", "base_url": base_url, "client": "no-such-client"});
    sandbox.write_home(".anyclauderc.json", file.to_string());
    let flags = ["--mode", "anthropic", "--client", "sh", "--", "-c", "echo ran"];
    let ran = run(sandbox.anyclaude(&flags).env("ANYCLAUDE_MODE", "claude")).exits(0);
    assert_eq!(ran.stdout, "ran\n");
    let ready = line_of(&ran.stderr, "ready in ").replace(&base_url, "[server]");
    insta::assert_snapshot!(portable(&ready), @"ready in [time]: [server] answers sh at http://127.0.0.1:[port]");
}

#[test]
fn a_project_that_was_only_cloned_does_not_choose_where_keys_go() {
    for (file, text) in [
        ("anyclaude.toml", "[recorder]\nupstream = ['http://127.0.0.1:9']\n"),
        (".anyclauderc.json", r#"{"mode": "openai", "base_url": "http://127.0.0.1:9/v1"}"#),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write(file, text);
        for arguments in [&["record", "--", "true"][..], &["--client", "true"], &["config", "show"]] {
            let refused = sandbox.run(arguments).refusal();
            assert!(refused.contains("decides where requests and their keys are sent"), "{file} {arguments:?}: {refused}");
        }
        let sandbox = Sandbox::new();
        sandbox.write_home(file, text);
        sandbox.run(&["config", "show"]).exits(0);
    }
}

#[test]
fn a_project_is_found_from_a_folder_inside_it() {
    let sandbox = Sandbox::new();
    sandbox.write("anyclaude.toml", "mode = \"claude\"\ntraces = \"traces\"\n");
    sandbox.write("src/deep/main.rs", "");
    let ran = run(sandbox.anyclaude(&["config", "show"]).current_dir(sandbox.path("src/deep"))).exits(0);
    let line = ran.stdout.lines().next().unwrap();
    insta::assert_snapshot!(sandbox.portable(line), @"mode           claude                     [project]/anyclaude.toml");
    // Its recordings are in one folder, wherever in it one works.
    let traces = sandbox.portable(line_of(&ran.stdout, "traces "));
    assert_eq!(traces.split_whitespace().nth(1), Some("[project]/traces"), "{traces}");
}

#[test]
fn the_recorders_settings_are_shown_without_passwords() {
    let sandbox = Sandbox::new();
    let settings = "upstream = ['https://me:hunter2@gateway.example']\nca_file = 'ca.pem'\nkeep_bytes = 10000000000\n";
    sandbox.write_home("anyclaude.toml", format!("[recorder]\n{settings}"));
    sandbox.write("src/main.rs", "");
    let show = |more: &[&str]| {
        let mut command = sandbox.anyclaude(&[&["config", "show"], more].concat());
        sandbox.portable(&run(command.current_dir(sandbox.path("src"))).exits(0).stdout)
    };
    assert!(!show(&[]).contains("hunter2") && !show(&["--json"]).contains("hunter2"));
    let shown: Value = serde_json::from_str(&show(&["--json"])).unwrap();
    // The authority's file is looked for beside the settings, wherever the recorder starts.
    assert_eq!(
        shown["recorder"]["value"],
        json!({"upstream": ["https://me:[redacted]@gateway.example"], "ca_file": "[home]/ca.pem", "keep_bytes": "10000000000"})
    );
}

#[test]
fn the_configuration_reads_as_a_table() {
    insta::assert_snapshot!(Sandbox::new().run(&["config", "show"]).exits(0).stdout);
}

#[test]
fn what_is_wrong_is_one_line_that_names_the_place() {
    let mut errors = String::new();
    for (file, text, variable) in [
        (".anyclauderc.json", "{\n  \"clinet\": \"x\"\n}", ("UNRELATED", "")),
        ("anyclaude.toml", "record = \"yes\"", ("UNRELATED", "")),
        ("anyclaude.toml", "[modes.openrouter]\nmodle = 1\n", ("UNRELATED", "")),
        ("anyclaude.toml", "record = true\n\n[redact]\npatterns = [\n  'ok-[0-9]+',\n  '(',\n]\n", ("UNRELATED", "")),
        (".anyclauderc.json", "{\"redact\":\n  {\"patterns\": [\"x*\"]}}", ("UNRELATED", "")),
        ("anyclaude.toml", "", ("ANYCLAUDE_MODE", "antropic")),
        ("anyclaude.toml", "", ("ANYCLAUDE_PORT", "many")),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write(file, text);
        let ran = run(sandbox.anyclaude(&["config", "show"]).env(variable.0, variable.1));
        errors += &sandbox.portable(&ran.refusal());
    }
    insta::assert_snapshot!(errors, @r#"
    exit 2: error: [project]/.anyclauderc.json:2:10: unknown key `clinet`; did you mean `client`?
    exit 2: error: [project]/anyclaude.toml:1:10: invalid type: string "yes", expected a boolean
    exit 2: error: [project]/anyclaude.toml:2:1: unknown key `modle`; did you mean `model`?
    exit 2: error: [project]/anyclaude.toml:4:12: the pattern `(` is no regular expression: unclosed group
    exit 2: error: [project]/.anyclauderc.json:2:21: the pattern `x*` matches the empty text
    exit 2: error: ANYCLAUDE_MODE: unknown value `antropic`; did you mean `anthropic`?
    exit 2: error: ANYCLAUDE_PORT: invalid type: found string "many", expected u16
    "#);
}

#[test]
fn the_schema_takes_what_we_take_and_refuses_what_we_refuse() {
    let schema: Value = serde_json::from_str(&Sandbox::new().run(&["config", "schema"]).exits(0).stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (file, is_valid) in [
        (json!({}), true),
        (json!({"$schema": "s.json", "mode": "mlx", "model": null, "port": 8081}), true),
        (json!({"mode": "nothing"}), false),
        (json!({"port": "8081"}), false),
        (json!({"prot": 1}), false),
    ] {
        assert_eq!(validator.is_valid(&file), is_valid, "{file}");
    }
}
