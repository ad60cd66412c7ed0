//! (stub: server)
