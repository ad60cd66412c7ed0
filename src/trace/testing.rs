//! What tests of traces share.

use serde_json::{Map, Value};

use super::{Opening, RecordedRequest, VERSION};

/// The beginning of an exchange: a POST of this body, without headers.
pub(crate) fn opening(path: &str, body: Value) -> Opening {
    Opening {
        version: VERSION,
        id: "id".into(),
        session: "s".into(),
        seq: 1,
        recorded_at: "2026-01-02T03:04:05Z".into(),
        client: "c".into(),
        mode: "anthropic".into(),
        upstream: None,
        request: RecordedRequest { method: "POST".into(), path: path.into(), headers: Map::new(), body },
    }
}
