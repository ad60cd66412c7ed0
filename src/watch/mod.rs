//! A recorder's folder as pages in the browser: its sessions, their exchanges, and each exchange as it streams.
//!
//! What a page shows is read from the files, the partial ones of exchanges under way too: the recorder is not asked, and of
//! exchanges only what some lists said is kept in memory, however many there are. [`view`] knows what each page shows and when that has changed,
//! [`folder`] reads the files, [`rows`] and [`topics`] know what was read and does not change, [`beginning`] compares prompts, [`page`] serves. The
//! HTML is `report`'s.

mod beginning;
mod folder;
mod page;
mod rows;
mod topics;
mod view;

pub use page::RecorderPage;
