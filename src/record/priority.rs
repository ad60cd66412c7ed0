//! How readily threads beside the one that forwards give way to it.

/// Lets other threads go first, by so much of `nice`'s scale. Linux has a priority for each thread. If it cannot be lowered, the
/// thread only disturbs a little more.
#[cfg(target_os = "linux")]
pub(crate) fn lower_priority(by: i32) {
    rustix::process::nice(by).ok();
}

/// Other systems have a priority for whole processes alone.
#[cfg(not(target_os = "linux"))]
pub(crate) fn lower_priority(_by: i32) {}
