//! The recording reverse proxy: streams every exchange through unchanged and writes it as a trace.
