//! What `--help` tells: every command shows how it is used.

use std::process::Command;

#[test]
fn every_command_shows_an_example() {
    let help = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_anyclaude")).args(arguments).arg("--help").output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let top = help(&[]);
    let commands = top.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Longer descriptions go on in deeper lines.
    let names: Vec<&str> = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| !["", "help"].contains(name)).collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let text = help(&[name]);
        assert!(text.contains("Example") && text.contains(&format!("\n  anyclaude {name}")), "{name}:\n{text}");
    }
}
