//! What the fuzz targets of `fuzz/` call: everything that reads bytes from outside, and what must hold whatever they are.
//!
//! A test runs each of them over the committed corpus, so that a finding stays found. In a normal build there is nothing of this.

#[cfg(feature = "mlx")]
mod engine;
mod imports;
mod partial;
mod wire;

#[cfg(feature = "mlx")]
pub use engine::{calls, template, tensor_file};
pub use imports::imports;
pub use partial::partial;
pub use wire::{answer, chat, configuration, messages, redaction, snapshot, sse, trace};

/// Cuts bytes into pieces. The first byte says how long they are.
fn pieces(bytes: &[u8]) -> (&[u8], std::slice::Chunks<'_, u8>) {
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    (rest, rest.chunks(usize::from(first % 16) + 1))
}

/// The same for text, cut between characters.
fn text_pieces(bytes: &[u8]) -> (String, Vec<String>) {
    let (rest, _) = pieces(bytes);
    let text = String::from_utf8_lossy(rest).into_owned();
    let length = usize::from(bytes.first().unwrap_or(&0) % 16) + 1;
    let characters: Vec<char> = text.chars().collect();
    (text, characters.chunks(length).map(String::from_iter).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    type Target = fn(&[u8]);

    const TARGETS: [(&str, Target); 10] = [
        ("answer", answer),
        ("chat", chat),
        ("configuration", configuration),
        ("imports", imports),
        ("messages", messages),
        ("partial", partial),
        ("redaction", redaction),
        ("snapshot", snapshot),
        ("sse", sse),
        ("trace", trace),
    ];

    #[cfg(feature = "mlx")]
    const ENGINE_TARGETS: [(&str, Target); 3] = [("calls", calls), ("template", template), ("tensor_file", tensor_file)];

    #[cfg(not(feature = "mlx"))]
    const ENGINE_TARGETS: [(&str, Target); 0] = [];

    /// What `make fuzz` runs, what is compiled for it, and what has a corpus.
    #[test]
    fn every_target_is_run() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let names_in = |folder: &str| {
            let names = fs::read_dir(here.join(folder)).unwrap().map(|entry| entry.unwrap().path());
            let mut names: Vec<String> = names.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        let makefile = fs::read_to_string(here.join("Makefile")).unwrap();
        let run = makefile.lines().find_map(|line| line.strip_prefix("FUZZ_TARGETS := ")).unwrap();
        assert_eq!(names_in("fuzz/fuzz_targets").join(" "), run);
        assert_eq!(names_in("fuzz/corpus").join(" "), run);
        for (name, _) in TARGETS.into_iter().chain(ENGINE_TARGETS) {
            assert!(run.split(' ').any(|target| target == name), "{name}");
        }
    }

    #[test]
    fn what_must_hold_holds_for_the_whole_corpus() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in TARGETS.into_iter().chain(ENGINE_TARGETS) {
            let files: Vec<_> = fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(!files.is_empty(), "{name}");
            for file in files {
                // A panic does not tell in which file.
                println!("{}", file.display());
                target(&fs::read(file).unwrap());
            }
        }
    }
}
