//! The folder in which caches outlive the process. Files in it are replaced, cut and removed, so it must be nobody else's.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::EngineError;
use crate::files::{Access, make_private_folder, read_bounded, write_atomically};

/// The file that marks a folder as ours. Its first line, the same in all programs' caches, tells backup programs to leave the
/// folder out.
const TAG: &str = "CACHEDIR.TAG";

const TAG_TEXT: &str = "\
Signature: 8a477f597d28d172789f06886806bc55
# This folder is a cache of anyclaude, which may remove every file in it.
# The format of this file: https://bford.info/cachedir/
";

/// Makes the folder, or takes one that is empty or a cache of ours, and marks it.
///
/// # Errors
/// It cannot be made or written to, or holds other files.
pub(super) fn take(folder: &Path) -> Result<(), EngineError> {
    let refuse = |reason: String| EngineError::CacheFolder { path: folder.into(), reason };
    let unusable = |error: io::Error| refuse(error.to_string());
    make_private_folder(folder).map_err(unusable)?;
    // In this order: another process that takes the folder now writes the mark before all else.
    let other = visible_entry(folder).map_err(unusable)?;
    let tag = folder.join(TAG);
    if read_bounded(&tag, TAG_TEXT.len() as u64).is_ok_and(|text| text == TAG_TEXT.as_bytes()) {
        return Ok(());
    }
    if let Some(name) = other {
        return Err(refuse(format!("it has {name} and is not marked as a cache of anyclaude by a {TAG}; empty it")));
    }
    write_atomically(&tag, TAG_TEXT.as_bytes(), Access::Owner).map_err(unusable)
}

/// Opens a file in such a folder to read it and append to it, or makes it. Nobody but its owner can open it.
///
/// # Errors
/// It cannot be opened or made, or is another user's.
pub(super) fn open_to_append(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).append(true).read(true).mode(0o600).open(path)?;
    // One that an earlier version made may be readable by others.
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// The name of something in the folder, if there is anything but hidden files and what a file system has put there.
fn visible_entry(folder: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && name != "lost+found" {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_folder_is_taken_and_stays_ours_whatever_becomes_of_its_files() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/cache");
        take(&folder).unwrap();
        assert_eq!(fs::read_to_string(folder.join(TAG)).unwrap(), TAG_TEXT);
        fs::write(folder.join("manifest.json"), "damaged").unwrap();
        take(&folder).unwrap();
        let volume = root.path().join("volume");
        fs::create_dir_all(volume.join("lost+found")).unwrap();
        fs::write(volume.join(".gitignore"), "*").unwrap();
        take(&volume).unwrap();
    }

    #[test]
    fn a_folder_with_other_files_is_refused_and_left_alone() {
        for (name, text) in [("manifest.json", r#"{"name": "my web app"}"#), ("notes", ""), (TAG, "Signature: another's")] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), text).unwrap();
            let error = take(folder.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("it has {name} and is not marked")), "{error}");
            let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!((left, fs::read_to_string(folder.path().join(name)).unwrap()), (vec![name.into()], text.to_owned()));
        }
    }
}
