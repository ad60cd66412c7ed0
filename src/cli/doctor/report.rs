//! `doctor --report`: the machine, the findings and a small bench, as a page to attach to a bug report. Nothing in it is secret:
//! no path, no name of a user or host.

use std::process::Command;

use super::requirement::Requirement;

/// The page. `bench`: lines of figures.
pub(super) fn page(requirements: &[Requirement], bench: &str) -> String {
    let requirements: String = requirements.iter().map(Requirement::line).collect();
    let requirements = console::strip_ansi_codes(&requirements);
    format!(
        "# anyclaude doctor\n\n{}\n\n## Findings\n\n{}\n## Bench\n\n{}",
        indented(&machine()),
        indented(&requirements),
        indented(bench)
    )
}

/// As Markdown's preformatted text.
fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// System, processor and memory, one a line.
fn machine() -> String {
    let lines = [
        ("system", first_line("uname", &["-srm"])),
        ("version", first_line("sw_vers", &["-productVersion"]).or_else(|| value_in("/etc/os-release", "PRETTY_NAME=", '='))),
        (
            "chip",
            first_line("sysctl", &["-n", "machdep.cpu.brand_string"]).or_else(|| value_in("/proc/cpuinfo", "model name", ':')),
        ),
        ("cores", std::thread::available_parallelism().ok().map(|cores| cores.to_string())),
        ("memory", first_line("sysctl", &["-n", "hw.memsize"]).or_else(|| value_in("/proc/meminfo", "MemTotal", ':'))),
        ("card", first_line("nvidia-smi", &["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"])),
    ];
    lines.into_iter().filter_map(|(name, value)| Some(format!("{name:<8} {}\n", value?))).collect()
}

/// The first line that a program prints, if it is there and succeeds.
pub(super) fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let line = String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}

/// What follows `separator` in the first line of a file that begins with `name`.
fn value_in(path: &str, name: &str, separator: char) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(separator)?.1.trim().trim_matches('"').to_owned())
}
