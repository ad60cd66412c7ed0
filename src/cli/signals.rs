//! The signals that ask the program to end, received instead of ending it at once.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;

use rustix::process::Signal;
use signal_hook::{flag, low_level};
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::oneshot;

/// Everything that a terminal or a supervisor sends to end a program.
pub(super) const ENDING: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// What stops a server. A hangup is left alone, so that one started with `nohup` outlives its terminal.
pub(super) const STOPPING: [Signal; 2] = [Signal::INT, Signal::TERM];

/// The exit code of a program that was told twice to stop, as after Ctrl-C in a shell.
const AT_ONCE: i32 = 130;

/// Receives signals. From its creation on they no longer end the process by themselves.
pub(super) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Starts to receive these signals.
    pub(super) fn listen(signals: &[Signal]) -> io::Result<Self> {
        let listen = |&signal: &Signal| Ok((signal, unix::signal(SignalKind::from_raw(signal.as_raw()))?));
        signals.iter().map(listen).collect::<io::Result<_>>().map(Self)
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            let mut arrived =
                self.0.iter_mut().filter_map(|(signal, stream)| stream.poll_recv(context).is_ready().then_some(*signal));
            arrived.next().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Has a file that would grow past the system's limit (`ulimit -f`) fail to be written, as on a full disk: the signal that comes
/// with it would end the process, and with it every answer that passes.
pub(super) fn outlive_file_limit() -> io::Result<()> {
    // What catches a signal may do as little as setting a flag. The failure itself says all.
    flag::register(Signal::XFSZ.as_raw(), Arc::new(AtomicBool::new(false))).map(drop)
}

/// Completes on the first of these signals, after `first` was called. The next one ends the process at once.
pub(super) fn stop(
    signals: &[Signal],
    first: impl FnOnce() + Send + 'static,
) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let (stop, stopped) = oneshot::channel();
    let mut signals = Signals::listen(signals)?;
    tokio::spawn(async move {
        signals.next().await;
        first();
        // Fails only if what is to be stopped has ended by itself.
        let _ = stop.send(());
        signals.next().await;
        // Without what a process does at its end: it would take apart what MLX's threads compute with, and they would crash.
        low_level::exit(AT_ONCE);
    });
    Ok(async {
        // The sender is never dropped before it has sent.
        let _ = stopped.await;
    })
}

/// The exit code of a process that a signal ended, as shells have it: 128 and the signal's number.
pub(super) fn exit_code_of(signal: Signal) -> u8 {
    // Signal numbers are at most 64.
    u8::try_from(128 + signal.as_raw()).unwrap_or(1)
}
