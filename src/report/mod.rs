//! (stub: report)
