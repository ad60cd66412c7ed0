//! `anyclaude record`: the recording proxy, running until a signal comes or around a child command.

mod args;
mod live;
mod page;
mod progress;
mod recovery;
mod session_name;

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::sync::mpsc::UnboundedReceiver;

pub(super) use self::args::RecordArgs;
use self::args::{kept, retention};
pub(super) use self::live::Prices;
use self::page::{OpenPage, PagePlan, beside_page};
pub(super) use self::progress::RecordingProgress;
pub(super) use self::recovery::recover_left;
pub(super) use self::session_name::open_by_time;
use super::child::{Child, environment};
use super::signals::{self, Signals};
use super::text::count;
use super::{CliError, blocking, say, say_own_words};
use crate::config::{self, RecorderSettings};
use crate::files::remove_empty_folders;
use crate::record::{
    Door, Notice, RecordError, Recorder, RecordingSession, Sessions, Upstream, UpstreamRoute, Upstreams, read_authorities,
};
use crate::trace::redact::Redactor;

/// The port of a recorder without a command: always the same, so that a client's settings can stay.
const DEFAULT_PORT: u16 = 8082;

/// Where requests go if nothing else is said.
const DEFAULT_UPSTREAM: &str = "https://api.anthropic.com";

/// Why an address may have no credentials: this port asks nobody who he is.
const SPENT_FOR_ALL: &str = "its address has credentials, so whoever reaches this port would spend them: leave them out and let the \
    client send them, such as with ANTHROPIC_CUSTOM_HEADERS='Authorization: Basic …'";

/// Records until a signal comes, the second of which ends at once, or until the command ends.
pub(super) async fn run(args: RecordArgs, redactor: &Redactor) -> Result<ExitCode, CliError> {
    let mut prepared = blocking(move || prepare(args)).await?;
    let made = std::mem::take(&mut prepared.made);
    let outcome = record(prepared, redactor).await;
    remove_if_empty(made).await;
    outcome
}

async fn record(prepared: Prepared, redactor: &Redactor) -> Result<ExitCode, CliError> {
    let Prepared { plan, mut words, command, page, .. } = prepared;
    let page = match page {
        Some(page) => Some(page.open().await?),
        None => None,
    };
    words.page = page.as_ref().map(|OpenPage { address, .. }| address.clone());
    let recording = async {
        match &command[..] {
            [] => record_until_signal(plan, words, redactor).await,
            command => record_command(plan, words, redactor, command).await,
        }
    };
    beside_page(page, recording).await
}

/// Everything that a recording needs.
struct Prepared {
    plan: RecordingPlan,
    words: RecordingWords,
    /// The command to run; empty if there is none.
    command: Vec<String>,
    page: Option<PagePlan>,
    /// The folders that were made.
    made: Vec<PathBuf>,
}

/// What a recorder is started with.
struct RecordingPlan {
    port: u16,
    sessions: Sessions,
    door: Door,
}

/// What is said of a recorder.
struct RecordingWords {
    upstreams: Upstreams,
    /// The folder of the traces, or of the sessions if there are several.
    folder: PathBuf,
    /// The same in words.
    place: String,
    /// What is kept of older sessions; `None` if everything is.
    kept: Option<String>,
    /// What the models' tokens cost.
    prices: Prices,
    /// The address of the page, if there is one.
    page: Option<String>,
}

/// Opens the recorder's session, and recovers what a killed one has left. Touches files.
fn prepare(args: RecordArgs) -> Result<Prepared, CliError> {
    let settings = args.settings()?;
    let upstreams = upstreams(&settings).map_err(record_error)?;
    if let Some(route) = upstreams.routes().iter().find(|route| route.upstream.has_credentials()) {
        return Err(CliError::input(format!("--upstream {route}: {SPENT_FOR_ALL}")));
    }
    let retention = retention(&settings)?;
    let RecordArgs { port, out, session, ui, allow, command, .. } = args;
    if !command.is_empty() && upstreams.without_prefix().is_none() {
        return Err(CliError::input("--upstream: a command is pointed at the upstream without a prefix; give one, too"));
    }
    recover_left(&out);
    let page = ui.map(|port| PagePlan { folder: out.clone(), port });
    let own = match &session {
        Some(name) => RecordingSession::open(&out, name),
        None => open_by_time(&out),
    };
    let own = own.map_err(record_error)?;
    let made = own.made_folders().to_vec();
    let (sessions, folder, place) = if session.is_some() || !command.is_empty() {
        let folder = out.join(own.name());
        let place = folder.display().to_string();
        (Sessions::from(own), folder, place)
    } else {
        let place = format!("{}, a folder for each session", out.display());
        (Sessions::by_client(own), out, place)
    };
    let plan = RecordingPlan {
        port: port.unwrap_or(if command.is_empty() { DEFAULT_PORT } else { 0 }),
        sessions: sessions.keeping(retention),
        door: Door { allowed: allow.allowed(), token: None },
    };
    let words = RecordingWords { upstreams, folder, place, kept: kept(&settings), prices: settings.prices, page: None };
    Ok(Prepared { plan, words, command, page, made })
}

async fn record_until_signal(plan: RecordingPlan, words: RecordingWords, redactor: &Redactor) -> Result<ExitCode, CliError> {
    let stop = signals::stop(&signals::ENDING, || ()).map_err(CliError::backend)?;
    let (recorder, notices, address) = plan.bind(&words.upstreams, redactor).await?;
    words.say_start(&address);
    // The shortest prefix is the last.
    let shortest = words.upstreams.routes().last();
    let prefix = shortest.map_or("", |route| route.prefix.as_str());
    say(format_args!("point Claude Code at it: ANTHROPIC_BASE_URL={address}{prefix} claude"));
    if shortest.is_some_and(|route| route.upstream.is_loopback()) {
        say_own_words(
            "if the upstream asks for no key, and Claude Code has no login of its own: with ANTHROPIC_API_KEY=local, too",
        );
    }
    say("stop with Ctrl-C");
    let mut progress = RecordingProgress::visible(&words.arrow(&address), words.prices.clone());
    observe(recorder.run(stop), notices, |notice| progress.take(notice)).await;
    say(progress.summary(&words.folder));
    progress.exit_code(0)
}

async fn record_command(
    plan: RecordingPlan,
    words: RecordingWords,
    redactor: &Redactor,
    command: &[String],
) -> Result<ExitCode, CliError> {
    let mut signals = Signals::listen(&signals::ENDING).map_err(CliError::backend)?;
    let (recorder, notices, address) = plan.bind(&words.upstreams, redactor).await?;
    let variables = words.upstreams.without_prefix().map_or_else(Vec::new, |upstream| environment(&address, upstream));
    let child = Child::start(command, variables)?;
    words.say_start(&address);
    let mut progress = RecordingProgress::silent(words.prices.clone());
    let code = observe(recorder.run(child.wait(&mut signals)), notices, |notice| progress.take(notice)).await?;
    say(progress.summary(&words.folder));
    progress.exit_code(code)
}

impl RecordingPlan {
    /// A listening recorder, its notices, and its base URL.
    async fn bind(
        self,
        upstreams: &Upstreams,
        redactor: &Redactor,
    ) -> Result<(Recorder, UnboundedReceiver<Notice>, String), CliError> {
        let Self { port, sessions, door } = self;
        let bound = Recorder::bind(upstreams.clone(), port, sessions, door, redactor).await;
        let (recorder, notices) = bound.map_err(record_error)?;
        let address = format!("http://{}", recorder.address().map_err(CliError::backend)?);
        Ok((recorder, notices, address))
    }
}

impl RecordingWords {
    /// Says where the page is, from where to where it records, and what is kept. Before that, all ports must be taken.
    fn say_start(&self, address: &str) {
        let Self { upstreams, place, kept, page, .. } = self;
        if let Some(page) = page {
            say(format_args!("watch it at {page}"));
        }
        for UpstreamRoute { prefix, upstream } in upstreams.routes().iter().rev() {
            say(format_args!("recording {address}{prefix} → {upstream}, into {place}"));
        }
        if let Some(kept) = kept {
            say(kept);
        }
    }

    /// From where to where it records, in a few words.
    fn arrow(&self, address: &str) -> String {
        match self.upstreams.routes() {
            [route] => format!("{address}{} → {}", route.prefix, route.upstream),
            routes => format!("{address} → {}", count(routes.len(), "upstream")),
        }
    }
}

/// The upstreams of the settings, with the authorities that they trust.
fn upstreams(settings: &RecorderSettings) -> Result<Upstreams, RecordError> {
    let upstreams = match &settings.upstream[..] {
        [] => Upstreams::from(Upstream::parse(DEFAULT_UPSTREAM)?),
        given => Upstreams::parse(given)?,
    };
    match &settings.ca_file {
        Some(file) => Ok(upstreams.trusting(&read_authorities(&config::expand_home(file))?)),
        None => Ok(upstreams),
    }
}

/// Removes the folders that were made for a session, as far as they are empty.
pub(super) async fn remove_if_empty(made: Vec<PathBuf>) {
    let removal = move || {
        remove_empty_folders(&made);
        Ok(())
    };
    // Fails only if the removal panicked.
    blocking(removal).await.ok();
}

/// Runs the recorder to its end, and meanwhile passes on its notices.
pub(super) async fn observe<T>(
    recording: impl Future<Output = T>,
    mut notices: UnboundedReceiver<Notice>,
    mut take: impl FnMut(Notice),
) -> T {
    let mut recording = std::pin::pin!(recording);
    let outcome = loop {
        tokio::select! {
            outcome = &mut recording => break outcome,
            Some(notice) = notices.recv() => take(notice),
        }
    };
    while let Ok(notice) = notices.try_recv() {
        take(notice);
    }
    outcome
}

/// The error with this command's flag that helps.
fn record_error(error: RecordError) -> CliError {
    match error {
        RecordError::Upstream { .. } | RecordError::SamePrefix { .. } => CliError::input(format!("--upstream {error}")),
        RecordError::Authorities { .. } => CliError::input(format!("--ca-file {error}")),
        RecordError::SessionName { .. } => CliError::input(format!("--session {error}")),
        RecordError::Folder { .. } => CliError::input(format!("{error}; choose another folder with --out")),
        RecordError::InUse { .. } => CliError::input(format!("{error}; choose another name with --session")),
        other => port_error(other),
    }
}

/// The errors that read the same with every command that has `--port`.
pub(super) fn port_error(error: RecordError) -> CliError {
    match error {
        RecordError::PortInUse { .. } => {
            CliError::backend(format!("{error}; stop what listens there, or choose another with --port (0: any free one)"))
        }
        RecordError::Bind { .. } => CliError::backend(format!("{error}; choose another port with --port (0: any free one)")),
        other => CliError::backend(other),
    }
}
