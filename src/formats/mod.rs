//! The files of other tools: reading their exchanges as traces, and writing traces as their files.
//!
//! Each format is one file or folder here, and one word in [`IMPORTERS`], [`EXPORTERS`] or both. What a format does not hold is
//! said for each exchange, never guessed.

mod atif;
mod blocks;
mod chat_words;
mod claude_code;
mod claude_trace;
mod elements;
mod exporter;
mod filed;
mod filed_head;
mod har;
mod http;
mod import;
mod import_error;
mod importer;
mod lines;
mod litellm;
mod mitmproxy;
mod mooncake;
mod open;
mod openai;
mod otlp;
mod rebuilt;
mod session_names;
mod value_end;
mod weka;
mod writers;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use self::open::COMPRESSIONS;
use crate::trace::is_client_name;
pub use claude_code::{Newest, newest_session, projects_folder};
pub use exporter::{CountTokens, Exchanges, Export, Exporter, Frame};
pub use import::{Import, ImportedSession};
pub use import_error::ImportError;
pub use importer::{Found, ImportedExchange, Importer, Passed, Source};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use writers::is_within_limits;

/// All formats that can be read.
pub static IMPORTERS: [&dyn Importer; 6] =
    [&claude_code::Transcript, &har::Har, &mitmproxy::Mitmproxy, &claude_trace::ClaudeTrace, &litellm::LiteLlm, &otlp::Otlp];

/// All formats that can be written.
pub static EXPORTERS: [&dyn Exporter; 6] =
    [&har::Har, &otlp::Otlp, &openai::OpenAi, &mooncake::Mooncake, &weka::Weka, &atif::Atif];

/// The exporter of this name.
pub fn exporter_named(name: &str) -> Option<&'static dyn Exporter> {
    EXPORTERS.into_iter().find(|exporter| exporter.name() == name)
}

/// The importer of this name.
pub fn importer_named(name: &str) -> Option<&'static dyn Importer> {
    IMPORTERS.into_iter().find(|importer| importer.name() == name)
}

/// The importer of a file that begins like this.
fn importer_of(start: &[u8]) -> Option<&'static dyn Importer> {
    IMPORTERS.into_iter().find(|importer| importer.recognizes(start))
}

/// What the traces of an import have in place of the kind of upstream, which is not known.
fn imported_mode(importer: &dyn Importer) -> String {
    format!("import:{}", importer.name())
}

/// A file's path without what its name ends in for its format and, if it is compressed, for that.
fn stem(path: &Path) -> PathBuf {
    let is_compressed = path.extension().is_some_and(|ending| COMPRESSIONS.iter().any(|name| ending == *name));
    let plain = if is_compressed { path.with_extension("") } else { path.to_owned() };
    plain.with_extension("")
}

/// A name for a session, from a text of another tool's: the text itself, if it can be one. Else what can be kept of it, with
/// some of its hash behind it, so that two texts stay two sessions.
fn session_name(text: &str) -> String {
    if is_client_name(text) {
        return text.to_owned();
    }
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let kept: String = text.trim_start_matches('.').chars().map(allowed).take(100).collect();
    let hash = Sha256::digest(text);
    format!("{}-{:02x}{:02x}{:02x}", if kept.is_empty() { "imported" } else { &kept }, hash[0], hash[1], hash[2])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::trace::is_session_name;

    #[test]
    fn every_text_is_a_session_of_its_own() {
        for name in ["s", "a.b_c-2", &"l".repeat(128)] {
            assert_eq!(session_name(name), name);
        }
        let long = "l".repeat(200);
        let texts =
            ["", "..", ".hidden", "a b", "a/b", "\u{7814}\u{7a76}", "\u{6d4b}\u{8bd5}", &long, &format!("{long}-agent-a")];
        let names: HashSet<String> = texts.iter().map(|text| session_name(text)).collect();
        assert_eq!(names.len(), texts.len(), "{names:?}");
        assert!(names.iter().all(|name| is_session_name(name)), "{names:?}");
        assert!(session_name("a b").starts_with("a-b-"));
    }
}
