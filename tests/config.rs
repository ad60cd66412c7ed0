//! `anyclaude config`: where values come from, and what is wrong with those that cannot be.

#[path = "support/launched.rs"]
mod launched;

use launched::{Place, stderr, stdout};
use serde_json::{Value, json};

/// The value of a setting and where it came from.
fn setting(place: &Place, variables: &[(&str, &str)], key: &str) -> (Value, String) {
    let output = place.anyclaude(&["config", "show", "--json"]).envs(variables.iter().copied()).output().unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (shown[key]["value"].clone(), shown[key]["from"].as_str().unwrap().to_owned())
}

#[test]
fn environment_wins_over_project_over_home_over_default() {
    let place = Place::new();
    assert_eq!(setting(&place, &[], "port"), (json!(0), "default".into()));
    place.write_home(".anyclauderc.json", r#"{"port": 1, "record": true}"#);
    let home = place.home.path().join(".anyclauderc.json").display().to_string();
    assert_eq!(setting(&place, &[], "port"), (json!(1), home.clone()));
    place.write("anyclaude.toml", "port = 2\n");
    assert_eq!(setting(&place, &[], "port"), (json!(2), place.path("anyclaude.toml").display().to_string()));
    assert_eq!(setting(&place, &[("ANYCLAUDE_PORT", "3")], "port"), (json!(3), "environment, ANYCLAUDE_PORT".into()));
    assert_eq!(setting(&place, &[], "record"), (json!(true), home));
}

#[test]
fn a_list_in_the_environment_has_commas() {
    let (value, _) = setting(&Place::new(), &[("ANYCLAUDE_TOOLS_ONLY", "Read, Edit")], "tools_only");
    assert_eq!(value, json!(["Read", "Edit"]));
}

#[test]
fn modes_have_parts_of_their_own_and_a_wrong_key_in_one_is_found() {
    let place = Place::new();
    place.write("anyclaude.toml", "fallback = [\"openrouter\"]\n\n[modes.openrouter]\nmodel = \"qwen/qwen3-coder\"\n");
    assert_eq!(setting(&place, &[], "modes").0["openrouter"]["model"], "qwen/qwen3-coder");
    assert_eq!(setting(&place, &[("ANYCLAUDE_FALLBACK", "lmstudio,mlx")], "fallback").0, json!(["lmstudio", "mlx"]));
    place.write("anyclaude.toml", "[modes.openrouter]\nmodle = 1\n");
    assert!(stderr(&place.run(&["config", "show"])).contains("anyclaude.toml:2:1: unknown key `modle`; did you mean `model`?"));
}

#[test]
fn flags_win_over_everything() {
    let place = Place::new();
    place.write(".anyclauderc.json", r#"{"mode": "mlx", "base_url": "http://127.0.0.1:9", "client": "no-such-client"}"#);
    let flags = ["--mode", "anthropic", "--client", "sh", "--", "-c", "echo ran"];
    let output = place.anyclaude(&flags).env("ANYCLAUDE_MODE", "claude").output().unwrap();
    assert_eq!(stdout(&output), "ran\n", "{}", stderr(&output));
    assert!(stderr(&output).contains("http://127.0.0.1:9 answers sh"), "{}", stderr(&output));
}

#[test]
fn a_project_is_found_from_a_folder_inside_it() {
    let place = Place::new();
    place.write("anyclaude.toml", "mode = \"claude\"\n");
    let inside = place.path("src/deep");
    std::fs::create_dir_all(&inside).unwrap();
    let output = place.anyclaude(&["config", "show"]).current_dir(inside).output().unwrap();
    let line = stdout(&output).lines().next().unwrap().to_owned();
    assert!(line.starts_with("mode") && line.contains("claude") && line.ends_with("/anyclaude.toml"), "{line}");
}

#[test]
fn the_configuration_reads_as_a_table() {
    insta::assert_snapshot!(stdout(&Place::new().run(&["config", "show"])));
}

#[test]
fn what_is_wrong_is_one_line_that_names_the_place() {
    let fails = |name: &str, text: &str, variable: (&str, &str)| {
        let place = Place::new();
        place.write(name, text);
        let output = place.anyclaude(&["config", "show"]).env(variable.0, variable.1).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let line = stderr(&output).replace(&format!("{}/", place.path("").display().to_string().trim_end_matches('/')), "");
        console::strip_ansi_codes(line.trim_end()).into_owned()
    };
    let none = ("UNRELATED", "");
    assert_eq!(
        fails(".anyclauderc.json", "{\n  \"clinet\": \"x\"\n}", none),
        "error: .anyclauderc.json:2:10: unknown key `clinet`; did you mean `client`?"
    );
    assert_eq!(
        fails("anyclaude.toml", "record = \"yes\"", none),
        "error: anyclaude.toml:1:10: invalid type: string \"yes\", expected a boolean"
    );
    assert_eq!(
        fails("anyclaude.toml", "", ("ANYCLAUDE_MODE", "antropic")),
        "error: ANYCLAUDE_MODE: unknown value `antropic`; did you mean `anthropic`?"
    );
    let wrong_port = fails("anyclaude.toml", "", ("ANYCLAUDE_PORT", "many"));
    assert_eq!(wrong_port, "error: ANYCLAUDE_PORT: invalid type: found string \"many\", expected u16");
}

#[test]
fn the_schema_takes_what_we_take_and_refuses_what_we_refuse() {
    let schema: Value = serde_json::from_slice(&Place::new().run(&["config", "schema"]).stdout).unwrap();
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
