//! The `anyclaude` binary: parse, set up logging, run one command, map the error to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    anyclaude::cli::main()
}
