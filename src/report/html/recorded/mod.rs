//! A recorder's folder as pages that follow it: its sessions, the exchanges of one, and an exchange as it streams. Pure.
//!
//! Each page is a frame around a part. The frame's script puts each new state of the part into the page.

mod exchange;
mod facts;
mod lists;
mod long_text;

use maud::{Markup, PreEscaped, html};

pub(crate) use self::exchange::{Beginning, BrokenAt, FollowedExchange, Sequel, exchange_part};
pub(crate) use self::facts::shortened;
pub(crate) use self::lists::{ExchangeOutline, ExchangesPage, ListedExchange, SessionLine, session_part, sessions_part};
use super::page::{FOLLOWING_POLICY, STYLE, scheme, whole_under};

const OWN_STYLE: &str = include_str!("recorded.css");
const SCRIPT: &str = include_str!("follow.js");

/// A step on the way from the list of sessions to a page: a relative address, and what is there.
pub(crate) struct Step {
    /// Where it leads, seen from the page.
    pub address: &'static str,
    /// What it is called.
    pub name: String,
}

/// A page around a part. `way` leads to the pages above it.
pub(crate) fn following_page(title: &str, way: &[Step], part: &Markup) -> String {
    let body = html! {
        header {
            h1 { (title) }
            (scheme())
            p {
                @for step in way { a href=(step.address) { (step.name) } " › " }
                output #following { "connecting" }
            }
        }
        main { (part) }
        script { (PreEscaped(SCRIPT)) }
    };
    whole_under(FOLLOWING_POLICY, &[STYLE, OWN_STYLE].concat(), title, &body)
}

/// A part that says why there is nothing to see.
pub(crate) fn nothing_part(reason: &str) -> Markup {
    html! { p.wrong { (reason) } }
}
