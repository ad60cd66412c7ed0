//! Rendering results: terminal, JSON, HdrHistogram text. Plain data in, text out.
