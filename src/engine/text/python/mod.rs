//! Python's ways, as far as chat templates show them: templates are written for Python's jinja2.

mod display;
pub mod json;
mod methods;

pub use display::{float, text};
pub use methods::method;
