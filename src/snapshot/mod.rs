//! (stub: snapshot)
