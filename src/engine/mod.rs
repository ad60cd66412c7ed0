//! (stub: engine)
