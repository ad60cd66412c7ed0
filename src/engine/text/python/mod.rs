//! Python's ways, as far as chat templates show them: templates are written for Python's jinja2.

mod display;
pub(super) mod json;
mod methods;

pub(super) use display::{float, text};
pub(super) use methods::method;
