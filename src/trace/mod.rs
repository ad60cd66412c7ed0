//! (stub: trace)
