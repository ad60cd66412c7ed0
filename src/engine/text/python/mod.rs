//! The behaviour of Python that chat templates rely on, since they are written for jinja2.

mod display;
mod fueled_text;
pub(super) mod json;
mod methods;

use display::float;
pub(super) use display::{joined, text};
pub(super) use fueled_text::{FueledText, pay_for};
pub(super) use methods::method;
