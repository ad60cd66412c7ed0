//! Values that are assigned to names of secrets: in shells, code, YAML, JSON, XML, headers and query strings.

use super::detector::Detector;
use super::names::{Evidence, evidence_for};
use super::spans::{Quote, SecretSpans};
use super::values::{ValueForm, is_secret};

/// How much of a name is kept, in bytes. Of a longer one only the end is judged.
const MAX_NAME: usize = 64;

/// How much of a value is judged, in bytes.
const MAX_VALUE: usize = 512;

/// The detector of these values.
#[derive(Default)]
pub(super) struct Assignments {
    state: AssignmentPart,
    name: AssignedName,
    value: AssignedValue,
    /// Whether the values stand in a list of JSON.
    in_list: bool,
    /// The byte before this one.
    before: u8,
    /// Backslashes right before this byte.
    backslashes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum AssignmentPart {
    #[default]
    Between,
    Name,
    /// After a name, its closing quote and white space.
    AfterName,
    /// After `=` or `:`.
    BeforeValue,
    Value,
    /// Inside a value that is known to be secret.
    Secret,
}

#[derive(Default)]
struct AssignedName {
    text: Vec<u8>,
    /// The byte before the name.
    before: u8,
    /// The quote around the name, as in JSON.
    quote: Option<Quote>,
}

impl AssignedName {
    /// Whether its values are taken by the letter, as those of environment variables, flags, parameters and elements are.
    fn is_literal(&self) -> bool {
        matches!(self.before, b'<' | b'?' | b'&') || self.text.starts_with(b"--") || !self.text.iter().any(u8::is_ascii_lowercase)
    }
}

struct AssignedValue {
    start: usize,
    text: Vec<u8>,
    evidence: Evidence,
    form: ValueForm,
    kind: Continuation,
    /// The quote around the value.
    quote: Option<Quote>,
}

impl Default for AssignedValue {
    fn default() -> Self {
        Self {
            start: 0,
            text: Vec::new(),
            evidence: Evidence::Chance,
            form: ValueForm::Bare,
            kind: Continuation::Plain,
            quote: None,
        }
    }
}

/// What may follow a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Continuation {
    Plain,
    /// `Authorization`: a scheme, then a value.
    Scheme,
    /// The value behind a scheme.
    AfterScheme,
    /// `Cookie`: further values after semicolons.
    Cookies,
    /// A Telegram bot's id, which a colon and its token follow.
    Telegram,
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Whether a byte ends a value without quotes.
fn ends_bare(byte: u8) -> bool {
    byte.is_ascii_whitespace()
        || is_quote(byte)
        || matches!(byte, b'\\' | b',' | b';' | b'&' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b'|')
}

fn is_telegram_id(name: &[u8]) -> bool {
    let digits = name.strip_prefix(b"bot").unwrap_or(name);
    (8..=10).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}

fn is_telegram_token(value: &[u8]) -> bool {
    let end = value.iter().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')));
    value.starts_with(b"AA") && end.unwrap_or(value.len()) == 35
}

/// Whether this may be the base64 of a name and a password: capitals inside, as no word has them.
fn is_encoded(value: &[u8]) -> bool {
    value.len() >= 8 && value[1..].iter().any(u8::is_ascii_uppercase) && value.iter().any(u8::is_ascii_lowercase)
}

impl Assignments {
    fn step(&mut self, at: usize, byte: u8, found: &mut SecretSpans) -> AssignmentPart {
        match self.state {
            AssignmentPart::Between if is_name_byte(byte) => self.begin_name(byte),
            AssignmentPart::Between => AssignmentPart::Between,
            AssignmentPart::Name if is_name_byte(byte) => {
                if self.name.text.len() == 2 * MAX_NAME {
                    self.name.text.drain(..MAX_NAME);
                }
                self.name.text.push(byte);
                AssignmentPart::Name
            }
            AssignmentPart::Name | AssignmentPart::AfterName => self.after_name(byte),
            AssignmentPart::BeforeValue => self.before_value(at, byte),
            AssignmentPart::Value if self.value.quote.is_some() => self.in_quotes(at, byte, found),
            AssignmentPart::Value => self.in_bare(at, byte, found),
            AssignmentPart::Secret => self.in_secret(at, byte, found),
        }
    }

    fn begin_name(&mut self, byte: u8) -> AssignmentPart {
        self.name.text.clear();
        self.name.text.push(byte);
        self.name.before = self.before;
        self.name.quote = None;
        AssignmentPart::Name
    }

    fn after_name(&mut self, byte: u8) -> AssignmentPart {
        match byte {
            b'=' | b':' => self.separate(byte),
            b'>' if self.name.before == b'<' => self.separate(byte),
            b' ' if self.state == AssignmentPart::Name && self.name.text.starts_with(b"--") => self.separate(byte),
            b' ' | b'\t' | b'\\' | b']' => AssignmentPart::AfterName,
            _ if is_quote(byte) && byte == self.name.before => {
                self.name.quote = Some(Quote { byte, backslashes: self.backslashes });
                AssignmentPart::AfterName
            }
            _ if is_name_byte(byte) => self.begin_name(byte),
            _ => AssignmentPart::Between,
        }
    }

    /// After a name, at what separates it from its value.
    fn separate(&mut self, separator: u8) -> AssignmentPart {
        let name = &self.name.text[self.name.text.len().saturating_sub(MAX_NAME)..];
        // Names have no other than ASCII bytes.
        let text = std::str::from_utf8(name).unwrap_or_default();
        let (evidence, kind) = if separator == b':' && is_telegram_id(name) {
            (Evidence::Chance, Continuation::Telegram)
        } else {
            let Some(evidence) = evidence_for(text) else { return AssignmentPart::Between };
            let lower = text.to_ascii_lowercase();
            // Signatures are secret in addresses only: those of thinking are not.
            if separator == b':' && lower == "sig" {
                return AssignmentPart::Between;
            }
            let kind = match () {
                _ if lower.ends_with("authorization") => Continuation::Scheme,
                _ if lower.ends_with("cookie") => Continuation::Cookies,
                _ => Continuation::Plain,
            };
            (evidence, kind)
        };
        let is_tight = self.state == AssignmentPart::Name;
        let form = if separator != b':' && is_tight && self.name.is_literal() { ValueForm::Literal } else { ValueForm::Bare };
        self.in_list = false;
        self.value.text.clear();
        self.value = AssignedValue { evidence, form, kind, quote: None, ..std::mem::take(&mut self.value) };
        AssignmentPart::BeforeValue
    }

    fn before_value(&mut self, at: usize, byte: u8) -> AssignmentPart {
        match byte {
            // A path in Rust.
            b':' if self.before == b':' => AssignmentPart::Between,
            b'=' | b':' | b'>' | b'&' | b'\\' => AssignmentPart::BeforeValue,
            b' ' | b'\t' => {
                if self.value.form == ValueForm::Literal && !self.name.text.starts_with(b"--") {
                    self.value.form = ValueForm::Bare;
                }
                AssignmentPart::BeforeValue
            }
            b'\n' | b'\r' if self.name.quote.is_some() => AssignmentPart::BeforeValue,
            b'[' if self.name.quote.is_some() && !self.in_list => {
                self.in_list = true;
                AssignmentPart::BeforeValue
            }
            b',' if self.in_list => AssignmentPart::BeforeValue,
            _ if is_quote(byte) => self.open_quote(at, byte),
            _ if ends_bare(byte) => AssignmentPart::Between,
            _ => {
                if self.name.quote.is_some() {
                    self.value.form = ValueForm::Number;
                }
                self.value.start = at;
                self.value.quote = None;
                self.value.text.clear();
                self.value.text.push(byte);
                AssignmentPart::Value
            }
        }
    }

    fn open_quote(&mut self, at: usize, byte: u8) -> AssignmentPart {
        self.value.start = at + 1;
        self.value.text.clear();
        self.value.quote = Some(Quote { byte, backslashes: self.backslashes });
        self.value.form = if self.name.quote.is_some() { ValueForm::Json } else { ValueForm::Quoted };
        AssignmentPart::Value
    }

    fn in_quotes(&mut self, at: usize, byte: u8, found: &mut SecretSpans) -> AssignmentPart {
        let Some(quote) = self.value.quote else { return AssignmentPart::Between };
        if quote.closes(byte, self.backslashes) {
            let end = at - self.backslashes.min(quote.backslashes);
            self.value.text.truncate(end - self.value.start);
            return self.judge(end, found);
        }
        let is_first = self.value.text.is_empty();
        // The quote closes a string that ends in `password:`.
        let was_closing = is_first && self.value.form == ValueForm::Quoted && b",}]):;+. ".contains(&byte);
        // Structure, and words: no key.
        let is_other = self.value.evidence != Evidence::Name && (byte == b' ' || (is_first && matches!(byte, b'{' | b'[')));
        if was_closing || is_other {
            return AssignmentPart::Between;
        }
        if byte == b'\n' {
            return self.judge(at, found);
        }
        self.add(byte)
    }

    fn in_bare(&mut self, at: usize, byte: u8, found: &mut SecretSpans) -> AssignmentPart {
        if !ends_bare(byte) {
            return self.add(byte);
        }
        let text = &self.value.text;
        // The letter before a string, as in `b"…"`.
        if is_quote(byte) && text.len() <= 2 && text.iter().all(u8::is_ascii_alphabetic) {
            return self.open_quote(at, byte);
        }
        let is_scheme = text.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'-');
        if byte == b' ' && self.value.kind == Continuation::Scheme && is_scheme {
            self.value.text.clear();
            self.value.kind = Continuation::AfterScheme;
            return AssignmentPart::BeforeValue;
        }
        // A call or an index.
        let state = if matches!(byte, b'(' | b'[') { AssignmentPart::Between } else { self.judge(at, found) };
        match byte {
            b';' if self.value.kind == Continuation::Cookies => {
                self.value.text.clear();
                AssignmentPart::BeforeValue
            }
            b']' | b'}' => AssignmentPart::Between,
            // It was a type, and the value may follow.
            b' ' if !self.in_list => AssignmentPart::AfterName,
            _ => state,
        }
    }

    /// Adds a byte to the value.
    fn add(&mut self, byte: u8) -> AssignmentPart {
        self.value.text.push(byte);
        match self.value.text.len() {
            MAX_VALUE if self.value.form != ValueForm::Number && self.is_secret() => AssignmentPart::Secret,
            MAX_VALUE => AssignmentPart::Between,
            _ => AssignmentPart::Value,
        }
    }

    fn in_secret(&mut self, at: usize, byte: u8, found: &mut SecretSpans) -> AssignmentPart {
        let ends = match self.value.quote {
            Some(quote) => quote.closes(byte, self.backslashes) || byte == b'\n',
            None => ends_bare(byte),
        };
        if !ends {
            return AssignmentPart::Secret;
        }
        let escape = self.value.quote.map_or(0, |quote| self.backslashes.min(quote.backslashes));
        found.push(self.value.start..at - escape);
        AssignmentPart::Between
    }

    /// The value ends here.
    fn judge(&mut self, end: usize, found: &mut SecretSpans) -> AssignmentPart {
        if self.is_secret() {
            let range = self.value.start..end;
            match self.name.quote.filter(|_| self.value.form == ValueForm::Number) {
                Some(quote) => found.push_number(range, quote),
                None => found.push(range),
            }
        }
        if self.in_list { AssignmentPart::BeforeValue } else { AssignmentPart::Between }
    }

    fn is_secret(&self) -> bool {
        let AssignedValue { text, evidence, form, kind, .. } = &self.value;
        match kind {
            Continuation::Telegram => is_telegram_token(text),
            Continuation::AfterScheme if is_encoded(text) => true,
            _ => is_secret(text, *evidence, *form),
        }
    }
}

impl Detector for Assignments {
    #[inline(always)]
    fn byte(&mut self, at: usize, byte: u8, found: &mut SecretSpans) {
        // Most bytes of most texts.
        if self.state == AssignmentPart::Name && byte.is_ascii_lowercase() && self.name.text.len() < MAX_NAME {
            self.name.text.push(byte);
            (self.backslashes, self.before) = (0, byte);
            return;
        }
        self.state = self.step(at, byte, found);
        self.backslashes = if byte == b'\\' { self.backslashes + 1 } else { 0 };
        self.before = byte;
    }

    fn end(&mut self, at: usize, found: &mut SecretSpans) {
        match self.state {
            AssignmentPart::Value => drop(self.judge(at, found)),
            AssignmentPart::Secret => found.push(self.value.start..at),
            _ => {}
        }
        (self.state, self.before, self.backslashes) = (AssignmentPart::Between, 0, 0);
    }

    fn undecided(&self) -> Option<usize> {
        (self.state == AssignmentPart::Value).then_some(self.value.start)
    }

    fn open(&self) -> Option<usize> {
        (self.state == AssignmentPart::Secret).then_some(self.value.start)
    }
}
