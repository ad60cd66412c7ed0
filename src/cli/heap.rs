//! glibc's heap, which a server and a recorder live with for days.
//!
//! glibc takes blocks above a threshold from the system one by one, and gives each back when it is freed. By default the
//! threshold grows to the largest block freed so far, up to 32 MB. From then on the KV cache's arrays, and long answers that are
//! recorded, come from the heap, where freed ones leave gaps that others do not fit into, and the process grows.

use std::os::unix::process::CommandExt;
use std::process::Command;

use tokio::process;

use crate::cli::CliError;

/// The environment variable that fixes the threshold. glibc reads it once, when a program starts.
const VARIABLE: &str = "MALLOC_MMAP_THRESHOLD_";

/// The threshold in bytes. Most arrays are larger, temporary ones and those of the KV cache alike.
const THRESHOLD: usize = 256 * 1024;

/// Leaves the threshold to a command that we start: it was fixed for us alone.
pub(super) fn leave_to(command: &mut process::Command) -> &mut process::Command {
    let is_ours = std::env::var(VARIABLE).is_ok_and(|value| value == THRESHOLD.to_string());
    if is_ours { command.env_remove(VARIABLE) } else { command }
}

/// Restarts this program in place, with the threshold fixed. A variable that the user has set is left as it is.
///
/// # Errors
/// The program cannot be started again. Do not go on: signals may no longer be handled as before.
pub(super) fn fix_threshold() -> Result<(), CliError> {
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
