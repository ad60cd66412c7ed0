//! The recording reverse proxy: forwards every exchange unchanged and writes it as a trace.
//!
//! A trace is on the disk before the client sees the end of its answer. What a trace contains and how it is written is decided in
//! `trace`; what the user sees is up to `cli`, which listens to [`Notice`]s.
//!
//! One task per exchange (`exchange`) reads the upstream and feeds the client. On the way every chunk passes the tap (`tap`),
//! which decompresses it, splits it into events and timestamps them. One thread (`writer`) redacts and writes the events of all
//! exchanges (`exchange_file`), and says in notices what is known of those under way (`known`).

mod authorities;
mod body;
mod compression;
mod decompress;
mod descriptors;
mod door;
mod error;
mod exchange;
mod exchange_file;
mod headers;
mod known;
mod named_sessions;
mod notice;
mod priority;
mod recorder;
mod retention;
mod session;
mod sessions;
mod state;
mod tap;
mod unicode;
mod upstream;
mod upstreams;
mod weight;
mod writer;

pub use authorities::read_authorities;
pub(crate) use decompress::decompressed;
pub use door::Door;
pub use error::RecordError;
pub use notice::{Answering, ExchangeName, Notice, Opened, Recorded};
pub(crate) use priority::lower_priority;
pub use recorder::Recorder;
pub use retention::{Removed, Retention};
pub use session::RecordingSession;
pub use sessions::Sessions;
pub use upstream::Upstream;
pub use upstreams::{UpstreamRoute, Upstreams};
pub(crate) use weight::body_value;
