//! How often the files of figures are written while a replay goes on.

use std::time::{Duration, Instant};

/// How many times as long as a write took the next one waits: so writing takes a hundredth of the time, however many traces there
/// are.
const WAIT: u32 = 100;

/// Says when the files are to be written again.
#[derive(Default)]
pub(super) struct Pace {
    next: Option<Instant>,
}

impl Pace {
    /// Writes if it is time for it.
    pub(super) fn write<E>(&mut self, write: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let began = Instant::now();
        if self.next.is_some_and(|next| began < next) {
            return Ok(());
        }
        let written = write();
        self.next = Some(Instant::now() + wait_after(began.elapsed()));
        written
    }
}

fn wait_after(write: Duration) -> Duration {
    write * WAIT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_waits_for_its_time() {
        let (mut pace, mut writes) = (Pace::default(), 0);
        let mut write = |pace: &mut Pace| {
            let write = || {
                writes += 1;
                Ok::<(), ()>(())
            };
            pace.write(write).unwrap();
            writes
        };
        assert_eq!(write(&mut pace), 1);
        pace.next = Some(Instant::now() + Duration::from_secs(3600));
        assert_eq!(write(&mut pace), 1);
        pace.next = Some(Instant::now());
        assert_eq!(write(&mut pace), 2);
    }
}
