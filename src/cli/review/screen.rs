//! The terminal while a review is on it: whatever ends or stops the program, the terminal is as it was before.

use std::io::{self, IsTerminal};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use rustix::process::Signal;
use signal_hook::low_level;
use tokio::task::AbortHandle;

use super::super::signals::{ENDING, Signals, exit_code_of};

/// How often it looks whether the terminal is still there.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The terminal in raw mode, with the screen of a review.
pub(super) struct Screen {
    pub terminal: DefaultTerminal,
    watch: AbortHandle,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        let signals = Signals::listen(&ENDING)?;
        let terminal = ratatui::try_init()?;
        Ok(Self { terminal, watch: tokio::spawn(end_on_signal(signals)).abort_handle() })
    }

    /// Stops the program, as Ctrl-Z does; the screen is back once the shell lets it go on.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        restore()?;
        low_level::raise(Signal::TSTP.as_raw())?;
        // A new one draws everything, and need not ask the terminal anything to do so.
        self.terminal = ratatui::try_init()?;
        Ok(())
    }

    pub(super) fn close(self) -> io::Result<()> {
        self.watch.abort();
        if !io::stdin().is_terminal() {
            // Ratatui would panic when it cannot say that it cannot restore anything.
            low_level::exit(exit_code_of(Signal::HUP).into());
        }
        restore()
    }
}

fn restore() -> io::Result<()> {
    ratatui::try_restore()?;
    execute!(io::stdout(), Show)
}

/// Restores the terminal and ends the program: waiting for keys would go on, and once the terminal is gone it never returns.
async fn end_on_signal(mut signals: Signals) {
    let signal = tokio::select! {
        signal = signals.next() => signal,
        () = gone() => Signal::HUP,
    };
    // A terminal that is gone needs no restoring.
    let _ = restore();
    low_level::exit(exit_code_of(signal).into());
}

/// Waits until there is no terminal any more.
async fn gone() {
    while io::stdin().is_terminal() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
