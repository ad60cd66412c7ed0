//! Opening a file that may be compressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// What the names of compressed files end in.
pub(super) const COMPRESSIONS: [&str; 2] = ["gz", "zst"];

/// How files of each begin, in the same order.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// How some Windows programs begin a text.
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// What is in a file. Its first bytes tell whether it is compressed, whatever it is called.
///
/// # Errors
/// It cannot be read.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::new(File::open(path)?);
    let start = file.fill_buf()?;
    let mut reader: Box<dyn BufRead> = if start.starts_with(GZIP) {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else if start.starts_with(ZSTD) {
        Box::new(BufReader::new(zstd::Decoder::with_buffer(file)?))
    } else {
        Box::new(file)
    };
    if reader.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
        reader.consume(BYTE_ORDER_MARK.len());
    }
    Ok(reader)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Write};

    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn a_file_is_read_however_it_is_compressed_and_called() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let gzip = |text: &str| {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let two_members = [gzip("one, "), gzip("two")].concat();
        for bytes in [b"one, two".to_vec(), two_members, zstd::encode_all(&b"one, two"[..], 0).unwrap()] {
            fs::write(&path, bytes).unwrap();
            let mut text = String::new();
            open(&path).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "one, two");
        }
    }
}
