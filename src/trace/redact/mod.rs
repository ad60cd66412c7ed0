//! Keeping secrets off the disk: in headers, query parameters, body fields and any text.
//!
//! Replaced are the values of headers, query parameters and body fields with secret names, text that looks like a well-known kind
//! of key, and the client's own credentials wherever they appear. `metadata.user_id` stays: it gives access to nothing, and it
//! tells sessions apart on the user's own disk. Scrubbing removes it before a trace is published.

mod names;
mod redactor;
mod spans;
mod stream;

pub use names::REDACTED;
pub use redactor::Redactor;
pub use stream::StreamRedactor;
