//! A terminal, which Python's pty plays.

use std::process::Command;

use super::sandbox::Sandbox;

/// What all scripts begin with. `play` reads what is printed on a terminal until it is closed, and returns it; `react` sees all
/// that was printed so far, each time that something came. `follow` plays so and takes steps, one after the other: each is what is
/// waited for and what is then done; at the end it prints what it read and exits as the child did. `small` makes the terminal one
/// of 80 columns and 24 rows.
const PRELUDE: &str = "
import fcntl, os, pty, re, signal, struct, subprocess, sys, termios
def small():
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
def play(terminal, react):
    output = b''
    while True:
        try:
            read = os.read(terminal, 4096)
        except OSError:
            return output
        if not read:
            return output
        output += read
        react(output)
def follow(child, terminal, steps):
    def react(output):
        found = steps and re.search(steps[0][0], output)
        if found:
            steps.pop(0)[1](found)
    sys.stdout.buffer.write(play(terminal, react))
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";

/// Python with this script, about to be started; its first argument is the built binary.
pub(crate) fn python(sandbox: &Sandbox, script: &str) -> Command {
    let mut python = sandbox.program("python3");
    python.args(["-c", &format!("{PRELUDE}{script}"), env!("CARGO_BIN_EXE_anyclaude")]);
    python
}
