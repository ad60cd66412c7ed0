//! The thread that writes the folder: the device never waits for the disk.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::SystemTime;

use super::run::{FileName, RunId};
use crate::files::{Access, write_atomically};

/// What is waiting to be written at most, in bytes: the disk may be slower than the device.
const QUEUE: u64 = 512 * 1024 * 1024;

/// Does one thing after another, in the order asked for. Dropping it waits until all is done.
pub struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    /// Runs that could not be written.
    failed: mpsc::Receiver<RunId>,
    /// Bytes that wait to be written.
    waiting: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

enum Job {
    Write(FileName, Vec<u8>),
    Remove(FileName),
    /// Note that it was used.
    Touch(FileName),
}

impl Writer {
    /// Starts the thread, for this folder.
    pub fn start(folder: PathBuf) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel();
        let (failures, failed) = mpsc::channel();
        let waiting = Arc::<AtomicU64>::default();
        let thread = std::thread::Builder::new().name("kv-disk".into()).spawn({
            let waiting = waiting.clone();
            move || work(&folder, &inbox, &waiting, &failures)
        })?;
        Ok(Self { jobs: Some(jobs), failed, waiting, thread: Some(thread) })
    }

    /// Whether there is room for more to write.
    pub fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) < QUEUE
    }

    /// Whether all that was to be written is.
    pub fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Has a file written, whole or not at all.
    pub fn write(&self, name: FileName, bytes: Vec<u8>) {
        self.waiting.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.ask(Job::Write(name, bytes));
    }

    /// Has a file removed.
    pub fn remove(&self, name: FileName) {
        self.ask(Job::Remove(name));
    }

    /// Has a file marked as used now.
    pub fn touch(&self, name: FileName) {
        self.ask(Job::Touch(name));
    }

    /// Runs that could not be written since it was last asked.
    pub fn failed(&self) -> Vec<RunId> {
        self.failed.try_iter().collect()
    }

    fn ask(&self, job: Job) {
        // The thread ends only after the sender is gone.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(folder: &Path, inbox: &mpsc::Receiver<Job>, waiting: &AtomicU64, failures: &mpsc::Sender<RunId>) {
    let mut said = HashSet::new();
    let mut warn = |error: io::Error| {
        // A full disk stays full for a while.
        if said.insert(error.kind()) {
            tracing::warn!(folder = %folder.display(), %error, "the prefix cache cannot be kept on disk");
        }
    };
    for job in inbox {
        match job {
            Job::Write(name, bytes) => {
                if let Err(error) = write_atomically(&folder.join(name.to_string()), &bytes, Access::Everyone) {
                    warn(error);
                    let _ = failures.send(name.id);
                }
                waiting.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
            }
            Job::Remove(name) => match fs::remove_file(folder.join(name.to_string())) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => warn(error),
                _ => {}
            },
            Job::Touch(name) => {
                // What was removed meanwhile needs no mark.
                let file = File::open(folder.join(name.to_string()));
                let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
            }
        }
    }
}
