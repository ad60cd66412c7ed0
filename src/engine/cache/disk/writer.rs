//! The thread that changes the cache folder, so that the device never waits for the disk.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::SystemTime;

use super::segment_file::{FileName, SegmentId};
use crate::files::{Access, write_atomically};

/// Bytes queued for writing beyond which nothing is added: the disk may be slower than the device.
const QUEUE_LIMIT: u64 = 512 * 1024 * 1024;

/// Queues jobs for the thread, which does them in order. Dropping it waits until all are done.
pub(super) struct SegmentWriter {
    /// `None` only while dropping.
    jobs: Option<mpsc::Sender<DiskJob>>,
    /// Segments that could not be written.
    failed: mpsc::Receiver<SegmentId>,
    /// Bytes queued for writing.
    waiting: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

enum DiskJob {
    Write(FileName, Vec<u8>),
    Remove(FileName),
    /// Set the file's modification time to now: that is when it was last used.
    Touch(FileName),
}

impl SegmentWriter {
    /// Starts the thread for a folder.
    pub(super) fn start(folder: PathBuf) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel();
        let (failures, failed) = mpsc::channel();
        let waiting = Arc::<AtomicU64>::default();
        let thread = std::thread::Builder::new().name("kv-disk".into()).spawn({
            let waiting = waiting.clone();
            move || work(&folder, &inbox, &waiting, &failures)
        })?;
        Ok(Self { jobs: Some(jobs), failed, waiting, thread: Some(thread) })
    }

    /// Whether the queue takes another file.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) < QUEUE_LIMIT
    }

    /// Whether all queued files are written.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Queues a file; it appears in the folder complete or not at all.
    pub(super) fn write(&self, name: FileName, bytes: Vec<u8>) {
        self.waiting.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.ask(DiskJob::Write(name, bytes));
    }

    /// Queues the removal of a file.
    pub(super) fn remove(&self, name: FileName) {
        self.ask(DiskJob::Remove(name));
    }

    /// Queues marking a file as used now.
    pub(super) fn touch(&self, name: FileName) {
        self.ask(DiskJob::Touch(name));
    }

    /// The segments that could not be written since the last call.
    pub(super) fn failed(&self) -> Vec<SegmentId> {
        self.failed.try_iter().collect()
    }

    fn ask(&self, job: DiskJob) {
        // Sending cannot fail: the thread receives until the sender is dropped.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(folder: &Path, inbox: &mpsc::Receiver<DiskJob>, waiting: &AtomicU64, failures: &mpsc::Sender<SegmentId>) {
    let mut warned = HashSet::new();
    let mut warn = |error: io::Error| {
        // Once per kind of error: a full disk stays full for a while.
        if warned.insert(error.kind()) {
            tracing::warn!(folder = %folder.display(), %error, "the prefix cache cannot be kept on disk");
        }
    };
    for job in inbox {
        match job {
            DiskJob::Write(name, bytes) => {
                if let Err(error) = write_atomically(&folder.join(name.to_string()), &bytes, Access::Owner) {
                    warn(error);
                    let _ = failures.send(name.id);
                }
                waiting.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
            }
            DiskJob::Remove(name) => match fs::remove_file(folder.join(name.to_string())) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => warn(error),
                _ => {}
            },
            DiskJob::Touch(name) => {
                // An error means that the file is gone: then its time of use does not matter.
                let file = File::open(folder.join(name.to_string()));
                let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
            }
        }
    }
}
