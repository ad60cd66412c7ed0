//! Values whose names stand elsewhere: beside them, in the header of a form's part, or before the object that they are in.

use super::escape::ESCAPED_LINE_END;
use super::names::{Evidence, evidence_for};

/// How far behind a name that is itself a value, as in `name: DB_PASSWORD`, its own value is looked for, in bytes.
const NEAR: usize = 200;

/// Most objects that are open one within the other. What stands deeper is judged by the last of them.
const MOST_OBJECTS: usize = 8;

/// A name that is the value of a field: `{"name": "DB_PASSWORD", "value": "…"}`, or the part of a form with that name.
#[derive(Default)]
pub(super) struct NamedElsewhere {
    /// Whether the next word is such a name.
    pub is_next: bool,
    /// What the last one asks of its value, and up to where that is looked for.
    last: Option<(Evidence, usize)>,
    /// The objects and lists of JSON behind names of secrets that are open, each within the one before.
    objects: Vec<NamedObject>,
    /// Up to where a name is that of a form's part: the header that has it has begun.
    form_until: usize,
    /// The line ends since the name of a form's part, without anything between. Its value follows two.
    pub line_ends: Option<u8>,
}

/// An object or a list behind the name of a secret: `"api_key": {"value": "…"}`.
struct NamedObject {
    evidence: Evidence,
    /// Up to where its values are looked for.
    until: usize,
    /// Brackets that are open, its own among them.
    depth: u8,
}

impl NamedElsewhere {
    /// The header of a form's part begins.
    pub(crate) fn begin_form(&mut self, at: usize) {
        self.form_until = at + NEAR;
    }

    /// An object or a list begins behind a name. Inside of another one, only the name of a secret counts for more.
    pub(crate) fn enter(&mut self, evidence: Evidence, at: usize) {
        let counts = self.objects.is_empty() || evidence == Evidence::Name;
        if counts && self.objects.len() < MOST_OBJECTS {
            self.objects.push(NamedObject { evidence, until: at + NEAR, depth: 0 });
        }
    }

    /// What a value that stands in such an object must look like to be a secret.
    pub(crate) fn inside(&mut self, at: usize) -> Option<Evidence> {
        let object = self.objects.last_mut().filter(|object| at <= object.until)?;
        object.until = at + NEAR;
        Some(object.evidence)
    }

    /// Notes a name.
    pub(crate) fn note(&mut self, name: &[u8], at: usize) {
        self.is_next = false;
        self.last = std::str::from_utf8(name).ok().and_then(evidence_for).map(|evidence| (evidence, at + NEAR));
        self.line_ends = (self.last.is_some() && at <= self.form_until).then_some(0);
    }

    /// Counts the line ends, and the brackets of an object.
    pub(crate) fn pass(&mut self, byte: u8) {
        if let Some(object) = self.objects.last_mut() {
            match byte {
                b'{' | b'[' => object.depth = object.depth.saturating_add(1),
                b'}' | b']' => object.depth = object.depth.saturating_sub(1),
                _ => {}
            }
            if object.depth == 0 {
                self.objects.pop();
            }
        }
        match (&mut self.line_ends, byte) {
            (Some(ends), b'\n' | ESCAPED_LINE_END) => *ends = ends.saturating_add(1),
            (_, b'\r' | b'\\' | b' ') => {}
            (Some(ends), _) => *ends = 0,
            (None, _) => {}
        }
    }

    /// What a value that stands here must look like to be a secret by the last such name.
    pub(crate) fn take(&mut self, at: usize) -> Option<Evidence> {
        self.last.take().filter(|(_, until)| at <= *until).map(|(evidence, _)| evidence)
    }
}
