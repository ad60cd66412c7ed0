//! A server that speaks the hub's API as far as pulling a model goes, with its quirks: large files live elsewhere, behind a
//! redirect; connections break.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};

use percent_encoding::percent_decode_str;
use serde_json::json;
use sha1::Sha1;
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
    /// A file whose first byte is given wrong.
    pub damaged: Option<&'static str>,
    /// A file that is listed and is not there.
    pub lost: Option<&'static str>,
    /// Large files have no end.
    pub endless: bool,
    /// The bearer token that must be sent.
    pub token: Option<&'static str>,
}

impl Repository {
    /// What is given as this file's content.
    fn given(&self, file: &str) -> Vec<u8> {
        let mut content = self.files[file].clone();
        if self.damaged == Some(file) {
            content[0] ^= 1;
        }
        content
    }
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
        let target = request.line.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
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
            let mut file = json!({"rfilename": path, "size": content.len(), "blobId": git_hash(content)});
            if is_large(path) {
                file["lfs"] = json!({"sha256": sha256(content), "size": content.len(), "pointerSize": 135});
            }
            file
        });
        let files: Vec<_> = files.collect();
        let listing = json!({"id": "org/tiny", "sha": COMMIT, "private": false, "gated": false, "siblings": files});
        answer.whole(200, &[JSON], listing.to_string())
    }

    fn resolve(&self, path: &str, answer: &mut Answer) -> io::Result<()> {
        if is_large(path) {
            return answer.whole(307, &[&format!("location: /storage/{path}")], "");
        }
        let file = &*percent_decode_str(path).decode_utf8_lossy();
        let repository = self.repository.lock().unwrap();
        match repository.files.contains_key(file) && repository.lost != Some(file) {
            true => answer.whole(200, &[], repository.given(file)),
            false => answer.whole(404, &[], ""),
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
            let content = repository.given(file)[range.unwrap_or(0)..].to_vec();
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

/// What git calls a file with this content.
fn git_hash(content: &[u8]) -> String {
    let named = [format!("blob {}\0", content.len()).as_bytes(), content].concat();
    Sha1::digest(named).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
