//! Files that the user has named.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::{Access, folder_of, give_name, temporary_beside};

/// What a shell calls the streams of a process. Behind them may be a file that other lines are in already, so they are never
/// replaced by a new one.
const STREAMS: [&str; 4] = ["/dev/fd", "/dev/stdout", "/dev/stderr", "/proc/self/fd"];

/// A file that the user has named, while it is written. It is there, whole, once it is finished; until then what was there stays.
///
/// It is written through symbolic links, and straight into what is no regular file (a device, a pipe), which must not be replaced
/// by one. Access that the owner has taken from others in an existing file stays taken.
#[must_use = "without `finish`, nothing is written"]
pub struct FileAsNamed(Place);

enum Place {
    /// A temporary file, and the path of the one that it becomes.
    Beside(BufWriter<NamedTempFile>, PathBuf),
    /// What is written straight.
    Straight(BufWriter<File>),
}

impl FileAsNamed {
    /// Begins the file. Makes its folder if that is missing.
    ///
    /// # Errors
    /// The folder cannot be made, or nothing can be written there.
    pub fn create(path: &Path, access: Access) -> io::Result<Self> {
        fs::create_dir_all(folder_of(path))?;
        let straight = |file: File| Ok(Self(Place::Straight(BufWriter::new(file))));
        let beside = |path: PathBuf, mode| {
            let file = temporary_beside(&path, mode)?;
            Ok(Self(Place::Beside(BufWriter::new(file), path)))
        };
        match fs::metadata(path) {
            Ok(there) if !there.is_file() || STREAMS.iter().any(|stream| path.starts_with(stream)) => {
                straight(File::options().append(true).open(path)?)
            }
            // Its owner must be able to write it the next time.
            Ok(there) => beside(fs::canonicalize(path)?, access.mode() & (there.permissions().mode() | 0o600)),
            // A link to what is not there yet.
            Err(_) if path.is_symlink() => {
                straight(File::options().write(true).create(true).truncate(true).mode(access.mode()).open(path)?)
            }
            Err(_) => beside(path.to_owned(), access.mode()),
        }
    }

    /// Gives the file its name, once all of it is on the disk.
    ///
    /// # Errors
    /// Something cannot be written. What was there before is there.
    pub fn finish(self) -> io::Result<()> {
        match self.0 {
            Place::Straight(mut file) => file.flush(),
            Place::Beside(file, path) => give_name(file.into_inner()?, &path),
        }
    }
}

impl Write for FileAsNamed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Place::Beside(file, _) => file.write(bytes),
            Place::Straight(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Place::Beside(file, _) => file.flush(),
            Place::Straight(file) => file.flush(),
        }
    }
}

/// Writes a file that the user has named, for everyone to read, as [`FileAsNamed`] does.
///
/// # Errors
/// Its folder cannot be made, or something cannot be written.
pub fn write_as_named(path: &Path, text: &str) -> io::Result<()> {
    let mut file = FileAsNamed::create(path, Access::Everyone)?;
    file.write_all(text.as_bytes())?;
    file.finish()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_written_as_named_through_links_and_into_devices() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, dangling] = ["file", "link", "dangling"].map(|name| folder.path().join(name));
        fs::write(&file, "old").unwrap();
        symlink(&file, &link).unwrap();
        symlink("to-come", &dangling).unwrap();
        for path in [&link, &dangling] {
            write_as_named(path, "new").unwrap();
            assert!(path.is_symlink());
        }
        for written in ["file", "to-come"] {
            assert_eq!(fs::read_to_string(folder.path().join(written)).unwrap(), "new");
        }
        let null = folder.path().join("null");
        symlink("/dev/null", &null).unwrap();
        write_as_named(&null, "new").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file() && null.is_symlink());
        assert!(write_as_named(folder.path(), "new").is_err());
    }

    #[test]
    fn until_it_is_finished_the_old_file_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        let mut given_up = FileAsNamed::create(&path, Access::Owner).unwrap();
        given_up.write_all(b"half").unwrap();
        given_up.flush().unwrap();
        drop(given_up);
        let mut file = FileAsNamed::create(&path, Access::Owner).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn others_get_no_more_access_than_is_asked_for_or_than_they_had() {
        let folder = tempfile::tempdir().unwrap();
        for (there, access, expected) in
            [(0o644, Access::Owner, 0o600), (0o600, Access::Everyone, 0o600), (0o440, Access::Owner, 0o600)]
        {
            let path = folder.path().join(format!("{there:o}-{access:?}"));
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(there)).unwrap();
            FileAsNamed::create(&path, access).unwrap().finish().unwrap();
            assert_eq!(mode_of(&path), expected, "{there:o}, {access:?}");
        }
        let dangling = folder.path().join("dangling");
        symlink("to-come", &dangling).unwrap();
        FileAsNamed::create(&dangling, Access::Owner).unwrap().finish().unwrap();
        assert_eq!(mode_of(&dangling), 0o600);
    }

    #[test]
    fn a_stream_with_a_file_behind_it_is_added_to() {
        use std::os::fd::AsRawFd;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old\n").unwrap();
        let file = File::options().append(true).open(&path).unwrap();
        write_as_named(Path::new(&format!("/dev/fd/{}", file.as_raw_fd())), "new\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old\nnew\n");
    }
}
