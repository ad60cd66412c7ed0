//! Reading files that somebody else may have put there, such as those of a project that was only cloned.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

/// Opens a file for reading, also by a symbolic link. What is no regular file is an error: reading from a pipe or a device may
/// never end.
///
/// # Errors
/// It cannot be opened, or is no regular file ([`io::ErrorKind::InvalidInput`]).
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Without NONBLOCK, opening a pipe waits for somebody who writes to it.
    let file = File::from(open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// Reads a whole file, as [`open_regular`] opens it.
///
/// # Errors
/// It cannot be opened or read, is no regular file, or has more than `most` bytes ([`io::ErrorKind::FileTooLarge`]).
pub fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        false => Ok(bytes),
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {most} bytes"))),
    }
}

/// Reads a whole text, as [`read_bounded`] does.
///
/// # Errors
/// Those of [`read_bounded`]; it is not UTF-8.
pub fn read_bounded_text(path: &Path, most: u64) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8");
    String::from_utf8(read_bounded(path, most)?).map_err(not_text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_a_regular_file_is_read_and_no_more_of_it_than_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, device, pipe, absent] =
            ["file", "link", "device", "pipe", "absent"].map(|name| folder.path().join(name));
        fs::write(&file, "text").unwrap();
        symlink("file", &link).unwrap();
        symlink("/dev/zero", &device).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [&file, &link] {
            assert_eq!(read_bounded_text(path, 4).unwrap(), "text");
            assert_eq!(read_bounded(path, 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        }
        for path in [&device, &pipe, folder.path()] {
            assert_eq!(read_bounded(path, 9).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{}", path.display());
        }
        assert_eq!(read_bounded(&absent, 9).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&file, [0xff]).unwrap();
        assert_eq!(read_bounded_text(&file, 9).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
