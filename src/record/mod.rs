//! (stub: record)
