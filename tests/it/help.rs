//! What `--help` says: every command, and every command inside a command, shows how it is used.

use crate::support::sandbox::Sandbox;

/// The names that a help text lists under "Commands:".
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Longer descriptions go on in deeper lines.
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !["", "help"].contains(name)).map(str::to_owned).collect()
}

#[test]
fn every_command_shows_an_example() {
    let help = |path: &[String]| {
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        Sandbox::new().run(&arguments).exits(0).stdout
    };
    let mut paths = vec![vec![]];
    let mut shown = 0;
    while let Some(path) = paths.pop() {
        let text = help(&path);
        let usage = ["\n  anyclaude", &path.join(" ")].join(if path.is_empty() { "" } else { " " });
        assert!(text.contains("\nExample") && text.contains(&usage), "{path:?}:\n{text}");
        paths.extend(commands(&text).into_iter().map(|name| [&path[..], &[name]].concat()));
        shown += 1;
    }
    assert!(shown >= 20, "only {shown} commands were found");
}
