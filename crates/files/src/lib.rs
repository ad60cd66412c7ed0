//! Writing files so that neither a reader nor a crash ever sees half of one, and reading what somebody else may have put there.

mod as_named;
mod regular;

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::{Errno, retry_on_intr};
use tempfile::NamedTempFile;

pub use self::as_named::{FileAsNamed, write_as_named};
pub use self::regular::{open_regular, read_bounded, read_bounded_text};

/// How the names of temporary files begin and end. A kill in the middle of a write leaves one behind.
const TEMPORARY: (&str, &str) = (".anyclaude-", ".tmp");

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its owner only: the file may contain private conversations.
    Owner,
    /// Everyone whom the umask allows.
    Everyone,
}

impl Access {
    /// The mode of a new file, before the umask.
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everyone => 0o666,
        }
    }
}

/// Writes a whole file, or leaves the old one: the bytes go to a temporary file beside it and to the disk before it gets its
/// name.
///
/// The temporary file is locked (`flock`) until it has its name, so that a lock tells whether its process still lives.
///
/// # Errors
/// The folder is missing, or something cannot be written. No temporary file is left.
pub fn write_atomically(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let file = temporary_beside(path, access.mode())?;
    (&file).write_all(bytes)?;
    give_name(file, path)
}

/// Writes a whole file, or leaves the old one, for as long as the machine runs: what is not on the disk yet when it crashes is
/// lost. For what can be made again, and is many files.
///
/// # Errors
/// The folder is missing, or something cannot be written. No temporary file is left.
pub fn write_whole(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let file = temporary_beside(path, access.mode())?;
    (&file).write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// A new file with a passing name. Locked, so that nobody takes it for one that a kill has left behind. Whoever did so before it
/// was locked has removed it: then there is another one.
fn temporary_beside(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    loop {
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY.0)
            .suffix(TEMPORARY.1)
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(folder_of(path))?;
        retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
        if has_name(file.as_file())? {
            return Ok(file);
        }
    }
}

/// Brings a temporary file to the disk, and then gives it this name.
fn give_name(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_folder(path)
}

/// Whether an open file still has a name in a folder.
///
/// # Errors
/// The system does not say.
pub fn has_name(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() > 0)
}

/// Makes a folder that only its owner may enter, and those around it that are missing. One that exists stays as it is.
///
/// # Errors
/// It cannot be made.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Locks a folder in which only one process may write, for as long as the result lives; `None` if another one has locked it.
///
/// # Errors
/// It cannot be opened or locked, or is a symbolic link: what is written in it would come to lie elsewhere. It is not found, too,
/// if it was removed before it was locked.
pub fn lock_folder(folder: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = match open(folder, flags, Mode::empty()) {
        Err(_) if folder.is_symlink() => {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "a symbolic link in the place of a folder"));
        }
        opened => File::from(opened?),
    };
    match try_lock(&lock)? {
        true if !has_name(&lock)? => Err(io::ErrorKind::NotFound.into()),
        locked => Ok(locked.then_some(lock)),
    }
}

/// Locks a file or a folder for as long as it is open. Whether it could: another process may have locked it.
///
/// # Errors
/// It cannot be locked at all.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes a folder as [`make_private_folder`] does and locks it as [`lock_folder`] does. If somebody removes it in between, it is
/// made again.
///
/// # Errors
/// It cannot be made, opened or locked.
pub fn make_and_lock_folder(folder: &Path) -> io::Result<Option<File>> {
    loop {
        make_private_folder(folder)?;
        match lock_folder(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            locked => return locked,
        }
    }
}

/// The folders on the way to this one that do not exist, the innermost first: what making it makes.
pub fn missing_folders(folder: &Path) -> Vec<PathBuf> {
    let missing = folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    missing.map(Path::to_owned).collect()
}

/// Removes folders that were made for something, the innermost first, as far as they are empty. One that cannot be removed stays,
/// and so do those around it.
pub fn remove_empty_folders(made: &[PathBuf]) {
    for folder in made {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
}

/// Gives a file its final name and syncs the folder. The file itself must be whole and synced already.
///
/// # Errors
/// The file cannot be renamed, or its folder cannot be synced.
pub fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::rename(temporary, path)?;
    sync_folder(path)
}

/// Whether a file is named like the temporary files of [`write_atomically`].
pub fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1)
}

/// The folder that a file is in; `.` for a bare file name.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Without this, a crash of the machine may undo a rename.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_whole_and_has_the_access_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for (text, access, group_and_others) in [("one", Access::Owner, false), ("two", Access::Everyone, true)] {
            write_atomically(&path, text.as_bytes(), access).unwrap();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode & 0o044 != 0), (text, group_and_others));
        }
        assert_eq!(names_in(folder.path()), ["a"]);
    }

    #[test]
    fn a_private_folder_is_entered_by_its_owner_only_and_one_that_exists_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (shared, private) = (folder.path().join("shared"), folder.path().join("a/b"));
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, Permissions::from_mode(0o755)).unwrap();
        for path in [&shared, &private] {
            make_private_folder(path).unwrap();
        }
        assert_eq!((mode(&shared), mode(&private), mode(&folder.path().join("a"))), (0o755, 0o700, 0o700));
    }

    #[test]
    fn a_folder_is_locked_where_it_is_and_not_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let [session, link] = ["a/session", "a/link"].map(|name| folder.path().join(name));
        let lock = make_and_lock_folder(&session).unwrap();
        assert!(lock.is_some() && lock_folder(&session).unwrap().is_none());
        drop(lock);
        std::os::unix::fs::symlink("session", &link).unwrap();
        for refused in [lock_folder(&link), make_and_lock_folder(&link)] {
            assert_eq!(refused.unwrap_err().to_string(), "a symbolic link in the place of a folder");
        }
        // Above it links lead where they lead.
        std::os::unix::fs::symlink("a", folder.path().join("b")).unwrap();
        assert!(lock_folder(&folder.path().join("b/session")).unwrap().is_some());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("taken");
        fs::create_dir(&target).unwrap();
        assert!(write_atomically(&target, b"x", Access::Everyone).is_err());
        assert_eq!(names_in(folder.path()), ["taken"]);
    }

    #[test]
    fn a_published_file_has_its_new_name_only() {
        let folder = tempfile::tempdir().unwrap();
        let (temporary, path) = (folder.path().join("a.incomplete"), folder.path().join("a"));
        fs::write(&temporary, "whole").unwrap();
        publish(&temporary, &path).unwrap();
        assert_eq!(names_in(folder.path()), ["a"]);
    }

    #[test]
    fn temporary_files_are_known_by_name() {
        for (name, expected) in [(".anyclaude-a1.tmp", true), ("a.tmp", false), (".anyclaude-a1.json", false), ("..", false)] {
            assert_eq!(is_temporary(&Path::new("folder").join(name)), expected, "{name}");
        }
    }
}
