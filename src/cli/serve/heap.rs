//! glibc's heap, which a server lives in for days.
//!
//! A block of at least so many bytes glibc asks the system for, and gives back when it is freed. By itself it raises that size
//! to that of the largest block freed so far, up to 32 MB. The KV cache's arrays then come from the heap, where those
//! evicted leave gaps that others do not fit into.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::cli::CliError;

/// Where glibc looks, once, when a program starts.
const VARIABLE: &str = "MALLOC_MMAP_THRESHOLD_";

/// What temporary arrays and those in the KV cache mostly exceed, in bytes.
const THRESHOLD: usize = 256 * 1024;

/// Starts the program again in place of itself, with the size fixed. Who has set the variable keeps what was set. An error is
/// final: signals may no longer be handled as before.
pub fn fix_threshold() -> Result<(), CliError> {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) || std::env::var_os(VARIABLE).is_some() {
        return Ok(());
    }
    let Ok(program) = std::env::current_exe() else { return Ok(()) };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    command.env(VARIABLE, THRESHOLD.to_string());
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let error = command.args(arguments).exec();
    Err(CliError::backend(format!(
        "cannot start the program again: {error}; set {VARIABLE}={THRESHOLD} to make that unnecessary"
    )))
}
