//! A replay as a page for a browser: one file that loads nothing else. Pure.
//!
//! [`exchange`] and [`diff`] say what is on the page, [`chart`] draws the curves, [`page`],
//! [`several`] and [`article`] write the HTML, in which
//! `maud` escapes every text. [`recorded`] has the pages of a recorder.

mod article;
mod chart;
mod diff;
mod exchange;
mod page;
pub(crate) mod recorded;
mod several;

pub use page::to_html;
pub use several::several_to_html;
