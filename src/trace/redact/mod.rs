//! Keeping secrets off the disk: in headers, query parameters, body fields and any text.
//!
//! Replaced are the values of headers, query parameters, fields and variables with secret names (`names`, `assignments`), keys
//! that are known by how they begin (`patterns`, `tokens`), private keys (`key_blocks`), passwords in addresses
//! (`url_passwords`), what the user's own patterns match (`user_patterns`), and the client's credentials wherever they appear
//! (`credentials`). `scanner` runs them all over a text that may come in pieces. `installed` is for what is shown. `metadata.user_id` stays: it gives access to
//! nothing, and it tells sessions apart on the user's own disk. Scrubbing removes it before a trace is published.

mod assignments;
mod credentials;
mod detector;
mod encoded;
mod escape;
mod installed;
mod key_blocks;
mod named;
mod names;
mod patterns;
mod redactor;
mod scanner;
mod spans;
mod spelling;
mod stream;
#[cfg(test)]
mod tests;
mod tokens;
mod url_passwords;
mod user_patterns;
mod values;

pub use names::REDACTED;
pub use redactor::Redactor;
pub use stream::StreamRedactor;
pub use user_patterns::SecretPattern;
