//! A descriptor that is kept for the traces: open connections may take all the others.

use std::fs::File;
use std::thread::sleep;
use std::time::Duration;

use crate::trace::TraceError;

/// What is open in the meantime.
const PLACEHOLDER: &str = "/dev/null";

/// How often is tried again. A new connection may be faster at taking the descriptor.
const TRIES: usize = 100;

/// How long is waited between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// The descriptor, unless it could not be had.
pub(super) struct SpareDescriptor(Option<File>);

impl SpareDescriptor {
    pub(crate) fn new() -> Self {
        Self(File::open(PLACEHOLDER).ok())
    }

    /// Does what needs a descriptor for a while; if the process has no other left, with this one.
    pub(crate) fn lend<T>(&mut self, work: impl Fn() -> Result<T, TraceError>) -> Result<T, TraceError> {
        let mut done = work();
        for _ in 0..TRIES {
            if !done.as_ref().is_err_and(TraceError::lacks_descriptors) {
                break;
            }
            if self.0.take().is_none() {
                sleep(PAUSE);
            }
            done = work();
        }
        if self.0.is_none() {
            *self = Self::new();
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;
    use std::path::Path;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn work_is_tried_again_with_the_spare_descriptor_and_other_errors_are_not() {
        let tried = Cell::new(0);
        let work = |failures: usize, errno: Errno| {
            tried.set(0);
            SpareDescriptor::new().lend(|| {
                tried.set(tried.get() + 1);
                if tried.get() <= failures { Err(error(errno)) } else { Ok(()) }
            })
        };
        assert!(work(0, Errno::MFILE).is_ok() && tried.get() == 1);
        assert!(work(1, Errno::MFILE).is_ok() && tried.get() == 2);
        assert!(work(3, Errno::NFILE).is_ok() && tried.get() == 4);
        assert!(work(usize::MAX, Errno::MFILE).is_err() && tried.get() == TRIES + 1);
        assert!(work(usize::MAX, Errno::NOSPC).is_err() && tried.get() == 1);
    }

    fn error(errno: Errno) -> TraceError {
        let source = io::Error::from(errno);
        TraceError::Io { doing: "write", path: Path::new("0001.json").to_owned(), source }
    }
}
