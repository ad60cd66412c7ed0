//! The hashes that the hub lists, computed from what was downloaded.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Takes a file's content piece by piece, and gives its hash.
#[derive(Debug)]
pub(super) enum ContentHash {
    /// Of a small file, as git names its content.
    Git(Sha1),
    /// Of a large file, which is kept outside git.
    Sha256(Sha256),
}

impl ContentHash {
    /// Of a small file with this number of bytes.
    pub(super) fn git(length: u64) -> Self {
        Self::Git(Sha1::new_with_prefix(format!("blob {length}\0")))
    }

    /// Of a large file.
    pub(super) fn sha256() -> Self {
        Self::Sha256(Sha256::new())
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Git(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
        }
    }

    /// Whether the content so far has this hash, in hexadecimal digits.
    pub(super) fn is(&self, listed: &str) -> bool {
        let hash = match self {
            Self::Git(hash) => format!("{:x}", hash.clone().finalize()),
            Self::Sha256(hash) => format!("{:x}", hash.clone().finalize()),
        };
        hash.eq_ignore_ascii_case(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are those of `git hash-object` and `sha256sum`.
    #[test]
    fn hashes_are_those_of_git_and_of_sha256() {
        let mut git = ContentHash::git(6);
        git.update(b"hel");
        git.update(b"lo\n");
        assert!(git.is("ce013625030ba8dba906f756967f9e9ca394464a"));
        assert!(ContentHash::git(0).is("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"));
        let mut sha256 = ContentHash::sha256();
        sha256.update(b"hello\n");
        assert!(sha256.is("5891B5B522D5DF086D0FF0B110FBD9D21BB4FC7163AF34D08286A2E846F6BE03"));
        assert!(!sha256.is("ce013625030ba8dba906f756967f9e9ca394464a"));
    }
}
