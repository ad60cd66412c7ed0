//! The HTTP server: the Anthropic Messages API and OpenAI's chat completions, Responses and completions over any
//! backend.
//!
//! Routes, limits, authentication, metrics and the shape of errors. It knows neither models nor files: a
//! [`Backend`](crate::backend::Backend) answers, and the caller's shutdown future ends it.

mod answer;
mod app;
mod at_work;
mod auth;
mod body;
mod body_room;
mod cache;
mod cache_metrics;
mod chat;
mod client;
mod completions;
mod connection;
mod error;
mod foreign;
mod host_name;
mod info;
mod messages;
mod meter;
mod metrics;
mod observe;
mod openai_frames;
mod page_origin;
mod path;
mod refused_head;
mod registry;
mod responses;
mod routes;
mod run;
mod run_token;
mod via;

pub use app::ServerOptions;
pub use body::BODY_LIMIT;
pub(crate) use body::LONGEST_ARRIVAL;
pub(crate) use connection::Connections;
pub(crate) use error::ApiError;
pub use foreign::{Allowed, Remedies};
pub use host_name::HostName;
pub use metrics::Totals;
pub(crate) use observe::refusal;
pub use page_origin::PageOrigin;
pub use run::Server;
pub(crate) use run::serve;
pub use run_token::RunToken;
pub(crate) use run_token::TOKEN_HEADER;
