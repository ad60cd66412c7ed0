//! The files of exchanges that were open when their recorder was killed.

use std::fs;

use crate::trace::{ExchangeOutcome, Recovered, partial_path, read, recover};

/// Of a partial file comes a trace that can be read, or nothing, or an error of one line that names the file, which stays.
pub fn partial(bytes: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = partial_path(&folder.path().join("0001.json"));
    if fs::write(&path, bytes).is_err() {
        return;
    }
    match recover(folder.path()).map(|mut recovered| recovered.pop()) {
        Ok(Some(Ok(Recovered::Trace { path: trace, events }))) => {
            let trace = read(&trace).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((trace.outcome, trace.response.events.len()), (ExchangeOutcome::Truncated, events));
            assert!(!path.exists());
        }
        Ok(Some(Ok(Recovered::Empty { .. }))) => assert!(!bytes.contains(&b'\n') && !path.exists()),
        Ok(Some(Err(error))) => {
            let error = error.to_string();
            assert!(error.contains("0001.json.partial") && !error.contains('\n') && path.exists(), "{error}");
        }
        other => panic!("{other:?}"),
    }
}
