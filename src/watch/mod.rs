//! A recorder's folder as pages in the browser: its sessions, their exchanges, and each exchange as it streams.
//!
//! What a page shows is read from the files, the partial ones of exchanges under way too: the recorder is not asked, and of a
//! bounded number of exchanges a little is kept in memory. [`view`] knows what each page shows and when that has changed,
//! [`folder`] reads the files, [`seen`] holds what was read of finished ones as long as they stay as they are ([`kept`]),
//! [`topics`] knows what sessions are about, [`beginning`] compares prompts, [`renderer`] keeps all this out of the recorder's
//! way, [`page`] serves. The HTML is `report`'s.

mod beginning;
mod folder;
mod kept;
mod page;
mod renderer;
mod seen;
mod topics;
mod view;

pub use page::RecorderPage;
