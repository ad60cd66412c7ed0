//! glibc's heap, which a server lives in for days.
//!
//! A block of at least so many bytes glibc asks the system for, and gives back when it is freed. By itself it raises that size
//! to that of the largest block freed so far, up to 32 MB. The KV cache's arrays then come from the heap, where those
//! evicted leave gaps that others do not fit into.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where glibc looks, once, when a program starts.
const VARIABLE: &str = "MALLOC_MMAP_THRESHOLD_";

/// What temporary arrays and those in the KV cache mostly exceed, in bytes.
const THRESHOLD: usize = 256 * 1024;

/// Starts the program again in place of itself, with the size fixed. Who has set the variable keeps what was set.
pub fn fix_threshold() {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) || std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    command.env(VARIABLE, THRESHOLD.to_string());
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let error = command.args(arguments).exec();
    tracing::warn!(%error, "memory that is freed may not go back to the system");
}
