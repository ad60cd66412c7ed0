//! Values that are assigned to names of secrets: in shells, code, YAML, JSON, XML, headers and query strings.

use super::detector::Detector;
use super::escape::ESCAPED_LINE_END;
use super::named::NamedElsewhere;
use super::names::{Evidence, evidence_for};
use super::spans::{Quote, SecretSpans};
use super::values::{ValueForm, is_placeholder, is_secret};

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
    named: NamedElsewhere,
    /// Whether something stands before this byte in its line, beside white space and the dash of a list.
    in_line: bool,
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
    /// Whether it is the first in its line.
    starts_line: bool,
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
    /// Where it starts; `None` before its first byte.
    start: Option<usize>,
    text: Vec<u8>,
    evidence: Evidence,
    /// Whether it may be all that stands in its line behind the name.
    is_line: bool,
    /// What follows its first colon.
    behind_colon: Option<usize>,
    form: ValueForm,
    kind: Continuation,
    /// The quote around the value.
    quote: Option<Quote>,
}

impl Default for AssignedValue {
    fn default() -> Self {
        Self {
            start: None,
            text: Vec::new(),
            evidence: Evidence::Chance,
            is_line: false,
            behind_colon: None,
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
    /// A user's name and password, with a colon between.
    UserPassword,
    /// Everything up to the end of the line.
    Line,
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | ESCAPED_LINE_END)
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

/// Whether this is `user:password`. Numbers of a user and a group, and names with nothing between, are others.
fn is_user_and_password(text: &[u8]) -> bool {
    let Some(colon) = text.iter().position(|byte| *byte == b':') else { return false };
    let (user, password) = (&text[..colon], &text[colon + 1..]);
    !is_placeholder(password) && password != user && !password.starts_with(b"//") && password.iter().any(|b| !b.is_ascii_digit())
}

impl Assignments {
    fn step(&mut self, at: usize, byte: u8, found: &mut SecretSpans) -> AssignmentPart {
        match self.state {
            AssignmentPart::Between if self.named.line_ends >= Some(2) && !is_line_end(byte) => {
                self.part_of_form(at, byte, found)
            }
            AssignmentPart::Between if is_name_byte(byte) => self.begin_name(byte),
            AssignmentPart::Between => AssignmentPart::Between,
            AssignmentPart::Name if is_name_byte(byte) => {
                if self.name.text.len() == 2 * MAX_NAME {
                    found.again(MAX_NAME);
                    self.name.text.drain(..MAX_NAME);
                }
                self.name.text.push(byte);
                AssignmentPart::Name
            }
            AssignmentPart::Name | AssignmentPart::AfterName => self.after_name(at, byte, found),
            AssignmentPart::BeforeValue => self.before_value(at, byte, found),
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
        self.name.starts_line = !self.in_line;
        AssignmentPart::Name
    }

    /// The value of a form's part: everything in its lines.
    fn part_of_form(&mut self, at: usize, byte: u8, found: &mut SecretSpans) -> AssignmentPart {
        self.named.line_ends = None;
        let Some(evidence) = self.named.take(at) else { return AssignmentPart::Between };
        self.value.text.clear();
        let text = std::mem::take(&mut self.value.text);
        self.value = AssignedValue { text, evidence, form: ValueForm::Literal, kind: Continuation::Line, ..Default::default() };
        self.add(at, byte, found)
    }

    fn after_name(&mut self, at: usize, byte: u8, found: &mut SecretSpans) -> AssignmentPart {
        if self.named.is_next && self.state == AssignmentPart::Name {
            found.again(self.name.text.len());
            self.named.note(&self.name.text, at);
        }
        if self.name.text.eq_ignore_ascii_case(b"form-data") {
            self.named.begin_form(at);
        }
        let is_flag = self.name.text.starts_with(b"--") || self.name.text == b"-u";
        match byte {
            b'=' | b':' => self.separate(at, byte, found),
            b'>' if self.name.before == b'<' => self.separate(at, byte, found),
            b' ' if self.state == AssignmentPart::Name && is_flag => self.separate(at, byte, found),
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
    fn separate(&mut self, at: usize, separator: u8, found: &mut SecretSpans) -> AssignmentPart {
        let name = &self.name.text[self.name.text.len().saturating_sub(MAX_NAME)..];
        found.again(name.len());
        // Names have no other than ASCII bytes.
        let text = std::str::from_utf8(name).unwrap_or_default();
        let lower = text.to_ascii_lowercase();
        self.named.is_next = ["name", "key"].contains(&lower.as_str());
        let (evidence, kind) = if separator == b':' && is_telegram_id(name) {
            (Evidence::Chance, Continuation::Telegram)
        } else if ["-u", "--user", "--proxy-user"].contains(&text) {
            (Evidence::Name, Continuation::UserPassword)
        } else {
            // The value of a name that stood before, as lists of variables, forms and property lists have it.
            let named = match lower.as_str() {
                "value" | "val" => self.named.take(at).or_else(|| self.named.inside(at)),
                "string" => self.named.take(at),
                _ => None,
            };
            let Some(evidence) = named.or_else(|| evidence_for(text)) else { return AssignmentPart::Between };
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
        let is_line = self.name.starts_line && (separator == b':' || is_tight);
        let text = std::mem::take(&mut self.value.text);
        self.value = AssignedValue { text, evidence, form, kind, is_line, ..AssignedValue::default() };
        AssignmentPart::BeforeValue
    }

    fn before_value(&mut self, at: usize, byte: u8, found: &mut SecretSpans) -> AssignmentPart {
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
            _ if is_line_end(byte) && self.name.quote.is_some() => AssignmentPart::BeforeValue,
            b'[' if self.name.quote.is_some() && !self.in_list => {
                self.in_list = true;
                self.named.enter(self.value.evidence, at);
                AssignmentPart::BeforeValue
            }
            b'{' if self.name.quote.is_some() => {
                self.named.enter(self.value.evidence, at);
                AssignmentPart::Between
            }
            b',' if self.in_list => AssignmentPart::BeforeValue,
            _ if is_quote(byte) => self.open_quote(byte),
            _ if ends_bare(byte) => AssignmentPart::Between,
            _ => {
                if self.name.quote.is_some() {
                    self.value.form = ValueForm::Number;
                }
                self.value.start = None;
                self.value.quote = None;
                self.value.text.clear();
                self.add(at, byte, found)
            }
        }
    }

    fn open_quote(&mut self, byte: u8) -> AssignmentPart {
        self.value.start = None;
        self.value.text.clear();
        self.value.quote = Some(Quote { byte, backslashes: self.backslashes });
        self.value.form = if self.name.quote.is_some() { ValueForm::Json } else { ValueForm::Quoted };
        AssignmentPart::Value
    }

    fn in_quotes(&mut self, at: usize, byte: u8, found: &mut SecretSpans) -> AssignmentPart {
        let Some(quote) = self.value.quote else { return AssignmentPart::Between };
        if quote.closes(byte, self.backslashes) {
            let escapes = self.backslashes.min(quote.backslashes);
            self.value.text.truncate(self.value.text.len().saturating_sub(escapes));
            return self.judge(at - escapes, false, found);
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
            return self.judge(at, false, found);
        }
        self.add(at, byte, found)
    }

    fn in_bare(&mut self, at: usize, byte: u8, found: &mut SecretSpans) -> AssignmentPart {
        if !self.ends_value(byte) {
            return self.add(at, byte, found);
        }
        let text = &self.value.text;
        // The letter before a string, as in `b"…"`.
        if is_quote(byte) && text.len() <= 2 && text.iter().all(u8::is_ascii_alphabetic) {
            return self.open_quote(byte);
        }
        found.again(text.len());
        let is_scheme = text.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'-');
        if byte == b' ' && self.value.kind == Continuation::Scheme && is_scheme {
            self.value.text.clear();
            self.value.kind = Continuation::AfterScheme;
            return AssignmentPart::BeforeValue;
        }
        // A call or an index.
        let is_code = matches!(byte, b'(' | b'[') && self.value.kind != Continuation::Line;
        let ends_line = is_line_end(byte) || byte == b'\\';
        let state = if is_code { AssignmentPart::Between } else { self.judge(at, ends_line, found) };
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

    /// Whether a byte ends a value without quotes, of the kind that is read.
    fn ends_value(&self, byte: u8) -> bool {
        match self.value.kind {
            Continuation::Line => is_line_end(byte) || byte == b'\\',
            _ => ends_bare(byte),
        }
    }

    /// Adds a byte to the value.
    fn add(&mut self, at: usize, byte: u8, found: &mut SecretSpans) -> AssignmentPart {
        self.value.start.get_or_insert(at);
        if byte == b':' {
            self.value.behind_colon.get_or_insert(at + 1);
        }
        self.value.text.push(byte);
        if self.value.text.len() == MAX_VALUE {
            found.again(MAX_VALUE);
        }
        match self.value.text.len() {
            MAX_VALUE if self.value.form != ValueForm::Number && self.is_secret() => AssignmentPart::Secret,
            MAX_VALUE => AssignmentPart::Between,
            _ => AssignmentPart::Value,
        }
    }

    fn in_secret(&mut self, at: usize, byte: u8, found: &mut SecretSpans) -> AssignmentPart {
        let ends = match self.value.quote {
            Some(quote) => quote.closes(byte, self.backslashes) || byte == b'\n',
            None => self.ends_value(byte),
        };
        if !ends {
            return AssignmentPart::Secret;
        }
        let escape = self.value.quote.map_or(0, |quote| self.backslashes.min(quote.backslashes));
        if let Some(start) = self.value.start {
            found.push(start..at - escape);
        }
        AssignmentPart::Between
    }

    /// The value ends here. `ends_line`: so does its line.
    fn judge(&mut self, end: usize, ends_line: bool, found: &mut SecretSpans) -> AssignmentPart {
        found.again(self.value.text.len());
        if self.named.is_next {
            self.named.note(&self.value.text, end);
        }
        if ends_line && self.value.is_line && self.value.form == ValueForm::Bare {
            self.value.form = ValueForm::Line;
        }
        if self.is_secret()
            && let Some(start) = self.secret_start()
        {
            let range = start..end;
            match self.name.quote.filter(|_| self.value.form == ValueForm::Number) {
                Some(quote) => found.push_number(range, quote),
                None => found.push(range),
            }
        }
        if self.in_list { AssignmentPart::BeforeValue } else { AssignmentPart::Between }
    }

    /// Where the secret part of the value starts.
    fn secret_start(&self) -> Option<usize> {
        match self.value.kind {
            Continuation::UserPassword => self.value.behind_colon,
            _ => self.value.start,
        }
    }

    fn is_secret(&self) -> bool {
        let AssignedValue { text, evidence, form, kind, .. } = &self.value;
        match kind {
            Continuation::UserPassword => is_user_and_password(text),
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
        match byte {
            b' ' | b'\t' | b'-' | b'\\' => {}
            _ if is_line_end(byte) => self.in_line = false,
            _ => self.in_line = true,
        }
        self.named.pass(byte);
        self.backslashes = if byte == b'\\' { self.backslashes + 1 } else { 0 };
        self.before = byte;
    }

    fn end(&mut self, at: usize, found: &mut SecretSpans) {
        match self.state {
            AssignmentPart::Value => drop(self.judge(at, true, found)),
            AssignmentPart::Secret => self.value.start.into_iter().for_each(|start| found.push(start..at)),
            _ => {}
        }
        (self.state, self.before, self.backslashes, self.in_line) = (AssignmentPart::Between, 0, 0, false);
        self.named = NamedElsewhere::default();
    }

    fn undecided(&self) -> Option<usize> {
        self.value.start.filter(|_| self.state == AssignmentPart::Value)
    }

    fn open(&self) -> Option<usize> {
        self.value.start.filter(|_| self.state == AssignmentPart::Secret)
    }
}
