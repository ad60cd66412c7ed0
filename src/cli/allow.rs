//! The flags that let further host names and web pages use a port.

use crate::server::{Allowed, HostName, PageOrigin, Remedies};

/// The flags and settings that a refusal names as its remedy.
pub(super) const REMEDIES: Remedies = Remedies {
    host: Some("allow the name with --allow-host of serve or record"),
    origin: Some("allow it with --allow-origin, or the setting allow_origin"),
};

/// Names and web pages that may use a port.
#[derive(clap::Args, Debug)]
pub(super) struct AllowArgs {
    /// Another name by which clients call this server, such as gpu.lan; may be repeated [default: localhost and
    /// addresses]
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<HostName>,
    /// Origin whose web pages may use this server, such as https://app.example; may be repeated [default: none]
    #[arg(long, value_name = "URL")]
    allow_origin: Vec<PageOrigin>,
}

impl AllowArgs {
    /// What the flags allow.
    pub(super) fn allowed(self) -> Allowed {
        Allowed { hosts: self.allow_host, origins: self.allow_origin, remedies: REMEDIES }
    }
}
