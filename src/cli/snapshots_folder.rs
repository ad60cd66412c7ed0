//! Where the accepted snapshots of traces are, if no option says so.

use std::path::PathBuf;

/// Its name.
pub(super) const SNAPSHOTS: &str = "snapshots";

/// The folder of snapshots in that of the traces, where the traces are all of one folder and it has one; or else that in the
/// current folder.
pub(super) fn snapshots_of(traces: &[PathBuf]) -> PathBuf {
    if let [traces] = traces
        && traces.join(SNAPSHOTS).is_dir()
    {
        return traces.join(SNAPSHOTS);
    }
    SNAPSHOTS.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_among_the_traces_or_here() {
        let folder = tempfile::tempdir().unwrap();
        let [with, without] = ["with", "without"].map(|name| folder.path().join(name));
        std::fs::create_dir_all(with.join(SNAPSHOTS)).unwrap();
        std::fs::create_dir_all(&without).unwrap();
        let here = PathBuf::from(SNAPSHOTS);
        for (traces, found) in [
            (vec![with.clone()], with.join(SNAPSHOTS)),
            (vec![without.clone()], here.clone()),
            (vec![with.clone(), without], here.clone()),
            (vec![], here),
        ] {
            assert_eq!(snapshots_of(&traces), found, "{traces:?}");
        }
    }
}
