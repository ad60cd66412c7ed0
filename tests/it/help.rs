//! What `--help` tells: every command shows how it is used.

use crate::support::sandbox::Sandbox;

#[test]
fn every_command_shows_an_example() {
    let help = |arguments: &[&str]| Sandbox::new().run(&[arguments, &["--help"]].concat()).exits(0).stdout;
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
