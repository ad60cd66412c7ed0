//! (stub: replay)
