//! A program at work and what it came to: its lines as they come, its input, signals, its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use super::deadline::{PATIENCE, until};

/// What a program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    /// `None`: a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A program at work. Killed when dropped.
pub(crate) struct Running {
    /// As messages call it.
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    /// Lines of both outputs as they come. Threads of their own read them, so that a wait for a line can end.
    lines: Receiver<(Output, String)>,
    stdout: Heard,
    stderr: Heard,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Output {
    Stdout,
    Stderr,
}

/// What came from an output so far.
#[derive(Default)]
struct Heard {
    text: String,
    /// How much of it a test has asked for.
    read: usize,
}

/// Runs a program to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Ran {
    Running::start(command).end()
}

/// Sends a signal, `INT` or `TERM` or `KILL`, to a process.
pub(crate) fn signal(process: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap().success());
}

/// A shell script that prints `ready` and then waits for a signal, at which it exits with 7. It waits in short sleeps: a process of
/// its own that it had to kill could miss its signal, killed before it has replaced the shell's handler, and would keep the
/// outputs open for ever.
pub(crate) fn exits_7_on(signal: &str) -> String {
    format!("trap 'exit 7' {signal}; echo ready; while :; do sleep 0.05; done")
}

impl Running {
    /// Starts a program; both its outputs are read from now on.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_unheard(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// Starts a program whose outputs go where the command says.
    #[track_caller]
    pub(crate) fn start_unheard(command: &mut Command) -> Self {
        let words = command.get_args().map(|argument| argument.to_string_lossy());
        let name = words.fold(command.get_program().to_string_lossy().into_owned(), |name, word| name + " " + &word);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let (sender, lines) = mpsc::channel();
        read_lines(child.stdout.take(), Output::Stdout, sender.clone());
        read_lines(child.stderr.take(), Output::Stderr, sender);
        let stdin = child.stdin.take();
        Self { name, child, stdin, lines, stdout: Heard::default(), stderr: Heard::default() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Writes to its input, which must be a pipe.
    pub(crate) fn write(&mut self, text: &str) {
        // A program that reads no input may be gone already.
        let _ = self.stdin.as_mut().unwrap().write_all(text.as_bytes());
    }

    /// The next line of standard output that starts like this.
    #[track_caller]
    pub(crate) fn prints(&mut self, start: &str) -> String {
        self.line(Output::Stdout, start)
    }

    /// The next line of standard error that starts like this.
    #[track_caller]
    pub(crate) fn says(&mut self, start: &str) -> String {
        self.line(Output::Stderr, start)
    }

    #[track_caller]
    fn line(&mut self, output: Output, start: &str) -> String {
        loop {
            let heard = self.heard(output);
            if let Some(line) = heard.next_line() {
                if line.starts_with(start) {
                    return line;
                }
            } else if !self.listen(&format!("the line {start:?} in {output:?}")) {
                panic!("{} closed its outputs before the line {start:?}\n{}", self.name, self.said());
            }
        }
    }

    /// Ends its input, waits for its end and gives all that it wrote, lines already asked for included.
    #[track_caller]
    pub(crate) fn end(&mut self) -> Ran {
        drop(self.stdin.take());
        while self.listen("the end") {}
        let status = until(format!("the end of {}", self.name), || self.child.try_wait().unwrap());
        let text = |heard: &mut Heard| std::mem::take(heard).text;
        Ran { code: status.code(), stdout: text(&mut self.stdout), stderr: text(&mut self.stderr) }
    }

    /// Takes the next line of either output; false where both are closed. A program that prints has as much time as it takes;
    /// one that is silent hangs.
    #[track_caller]
    fn listen(&mut self, awaited: &str) -> bool {
        match self.lines.recv_timeout(PATIENCE) {
            Ok((output, line)) => self.heard(output).text.push_str(&line),
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => {
                panic!("{} was silent for {} s before {awaited}\n{}", self.name, PATIENCE.as_secs(), self.said())
            }
        }
        true
    }

    fn heard(&mut self, output: Output) -> &mut Heard {
        match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        }
    }

    fn said(&self) -> String {
        format!("stdout:\n{}\nstderr:\n{}", self.stdout.text, self.stderr.text)
    }
}

impl Heard {
    /// The next line that nobody asked for yet, without its end.
    fn next_line(&mut self) -> Option<String> {
        let line = self.text[self.read..].split_inclusive('\n').next()?;
        self.read += line.len();
        Some(line.trim_end().to_owned())
    }
}

/// Sends on the lines of an output until it is closed.
fn read_lines(from: Option<impl Read + Send + 'static>, output: Output, lines: mpsc::Sender<(Output, String)>) {
    let Some(from) = from else { return };
    thread::spawn(move || {
        let (mut reader, mut line) = (BufReader::new(from), Vec::new());
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0)
            && lines.send((output, String::from_utf8_lossy(&line).into_owned())).is_ok()
        {
            line.clear();
        }
    });
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    /// Asserts the exit code; shows everything where it is another.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The exit code and the one line of standard error that a failure is, after asserting that it is one.
    #[track_caller]
    pub(crate) fn refusal(&self) -> String {
        assert_eq!(self.stderr.lines().count(), 1, "stderr:\n{}", self.stderr);
        format!("exit {}: {}", self.code.unwrap(), self.stderr)
    }
}
