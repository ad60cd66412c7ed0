//! The files of other tools.

use std::path::Path;

use crate::formats::{Found, IMPORTERS, Source, is_within_limits};
use crate::trace::{Trace, is_session_name};

/// Every importer takes every file: each ends, and what it finds are traces that come back from their files as they were,
/// but for those that an import refuses to write.
pub fn imports(bytes: &[u8]) {
    for importer in IMPORTERS {
        importer.recognizes(bytes);
        let source = Source { path: Path::new("file.jsonl"), reader: &mut &*bytes };
        let mut check = |found: Found| {
            if let Found::Exchange(exchange) = found {
                assert!(is_session_name(&exchange.trace.session), "{:?}", exchange.trace.session);
                let text = serde_json::to_vec(&exchange.trace).expect("a trace is JSON");
                if is_within_limits(&text) {
                    assert_eq!(serde_json::from_slice::<Trace>(&text).expect("a trace can be read"), exchange.trace);
                }
            }
            Ok(())
        };
        // A file that is none of its format is refused.
        drop(importer.import(source, &mut check));
    }
}
