//! A server that speaks the hub's API as far as pulling a model goes, with its quirks: large files live elsewhere, behind a
//! redirect; connections break.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::log::Log;
use super::upstream::{Answer, Message, Upstream};

/// The commit of every repository.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

const JSON: &str = "content-type: application/json";

/// What a repository's files are, and what happens on the way.
#[derive(Default)]
pub(crate) struct Repository {
    /// Content by path. A path that ends in `.safetensors` is a large file.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The connection breaks after this number of bytes of a large file.
    pub break_after: Option<usize>,
    /// The connection stays open but silent after this number of bytes of a large file.
    pub stall_after: Option<usize>,
    /// Whether large files can be had from the middle on.
    pub without_ranges: bool,
    /// What the hub answers instead of a listing.
    pub refuse: Option<u16>,
    /// Bytes of large files are given wrong.
    pub damage: bool,
    /// A file that is listed and is not there.
    pub lost: Option<&'static str>,
    /// Large files have no end.
    pub endless: bool,
    /// The bearer token that must be sent.
    pub token: Option<&'static str>,
}

/// The running server.
pub(crate) struct Hub {
    pub url: String,
    state: Arc<Shared>,
}

struct Shared {
    repository: Mutex<Repository>,
    /// File and first byte of every request for a large file.
    asked: Log<String>,
}

impl Hub {
    /// Serves one repository, `org/tiny`.
    pub(crate) fn start(repository: Repository) -> Self {
        let state = Arc::new(Shared { repository: Mutex::new(repository), asked: Log::default() });
        let shared = state.clone();
        let upstream = Upstream::start(move |request, answer| shared.answer(&request, answer));
        Self { url: upstream.url(), state }
    }

    /// What large files were asked for so far, `file from`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.asked.all()
    }

    /// Changes what happens from now on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Repository)) {
        change(&mut self.state.repository.lock().unwrap());
    }
}

impl Shared {
    fn answer(&self, request: &Message, answer: &mut Answer) -> io::Result<()> {
        let path = request.line.split(' ').nth(1).unwrap_or_default();
        let resolve = format!("/org/tiny/resolve/{COMMIT}/");
        if path.starts_with("/api/models/org/tiny/revision/main") {
            self.list(request, answer)
        } else if let Some(file) = path.strip_prefix(&resolve) {
            self.resolve(file, answer)
        } else if let Some(file) = path.strip_prefix("/storage/") {
            self.send(file, request, answer)
        } else {
            answer.whole(404, &[], "")
        }
    }

    fn list(&self, request: &Message, answer: &mut Answer) -> io::Result<()> {
        let repository = self.repository.lock().unwrap();
        let expected = repository.token.map(|token| format!("Bearer {token}"));
        if expected.is_some() && request.header("authorization") != expected.as_deref() {
            return answer.whole(401, &[], "Invalid username or password.");
        }
        if let Some(status) = repository.refuse {
            return answer.whole(status, &[], "no");
        }
        let files = repository.files.iter().map(|(path, content)| {
            // Git's own hash is SHA-1; here any name will do.
            let blob = &sha256(content)[..40];
            let mut file = json!({"rfilename": path, "size": content.len(), "blobId": blob});
            if is_large(path) {
                file["lfs"] = json!({"sha256": sha256(content), "size": content.len(), "pointerSize": 135});
            }
            file
        });
        let files: Vec<_> = files.collect();
        let listing = json!({"id": "org/tiny", "sha": COMMIT, "private": false, "gated": false, "siblings": files});
        answer.whole(200, &[JSON], listing.to_string())
    }

    fn resolve(&self, file: &str, answer: &mut Answer) -> io::Result<()> {
        if is_large(file) {
            return answer.whole(307, &[&format!("location: /storage/{file}")], "");
        }
        let repository = self.repository.lock().unwrap();
        match repository.files.get(file).filter(|_| repository.lost != Some(file)) {
            Some(content) => answer.whole(200, &[], content),
            None => answer.whole(404, &[], ""),
        }
    }

    /// A large file from a byte on, as far as the connection goes.
    fn send(&self, file: &str, request: &Message, answer: &mut Answer) -> io::Result<()> {
        let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        self.asked.push(format!("{file} {}", range.unwrap_or(0)));
        let (status, content, break_after, stall_after) = {
            let repository = self.repository.lock().unwrap();
            if repository.endless {
                let content = repository.files[file].clone();
                drop(repository);
                answer.raw("HTTP/1.1 200 Scripted\r\nconnection: close\r\n\r\n")?;
                loop {
                    answer.raw(&content)?;
                }
            }
            let range: Option<usize> = range.filter(|_| !repository.without_ranges);
            let mut content = repository.files[file][range.unwrap_or(0)..].to_vec();
            content[0] ^= u8::from(repository.damage);
            (if range.is_some() { 206 } else { 200 }, content, repository.break_after, repository.stall_after)
        };
        answer.raw(format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n\r\n", content.len()))?;
        match (break_after, stall_after) {
            (Some(after), _) if after < content.len() => {
                answer.raw(&content[..after])?;
                Err(ErrorKind::ConnectionAborted.into())
            }
            (_, Some(after)) if after < content.len() => {
                answer.raw(&content[..after])?;
                answer.wait_for_close();
                Ok(())
            }
            _ => answer.raw(content),
        }
    }
}

fn is_large(path: &str) -> bool {
    path.ends_with(".safetensors")
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
