//! The behaviour of Python that chat templates rely on, since they are written for jinja2.

mod display;
pub(super) mod json;
mod methods;

pub(super) use display::{float, text};
pub(super) use methods::method;
