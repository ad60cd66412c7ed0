//! How many clients may be connected at once, so that the files of every exchange find a descriptor. Others wait until one leaves.

use rustix::process::{Resource, getrlimit};

use super::named_sessions::KEPT_OPEN;

/// What one client needs: its socket, one to the upstream, one where that is a server of this process, the partial file, its
/// session's folder. One more, because the HTTP client may open a connection while another becomes free.
const OF_A_CLIENT: u64 = 6;

/// What everything else needs: standard streams, the runtime, the listener, the trace that is being written, the log; a page in
/// the browser with what it reads; the folders of sessions that are open though nobody uses them.
const OF_THE_REST: u64 = 20 + 20 + KEPT_OPEN as u64;

/// Most clients at once, by the process's limit.
pub(super) fn most_clients() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, of_limit)
}

fn of_limit(descriptors: u64) -> usize {
    (descriptors.saturating_sub(OF_THE_REST) / OF_A_CLIENT).max(1) as usize
}

#[test]
fn whatever_the_limit_is_there_is_room_for_one_client() {
    assert_eq!([0, 25, 64, 256, 1024].map(of_limit), [1, 1, 1, 30, 158]);
}
