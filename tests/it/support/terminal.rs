//! A terminal, which Python's pty plays.

use std::process::Command;

use super::sandbox::Sandbox;

/// What all scripts begin with. `play` reads what is printed on a terminal until it is closed, and returns it; `react` sees all
/// that was printed so far, each time that something came. `small` makes the terminal one of 80 columns and 24 rows.
const PRELUDE: &str = "
import fcntl, os, pty, signal, struct, subprocess, sys, termios
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
";

/// Python with this script, about to be started; its first argument is the built binary.
pub(crate) fn python(sandbox: &Sandbox, script: &str) -> Command {
    let mut python = sandbox.program("python3");
    python.args(["-c", &format!("{PRELUDE}{script}"), env!("CARGO_BIN_EXE_anyclaude")]);
    python
}
