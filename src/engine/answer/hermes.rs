//! The Hermes format of tool calls, which Qwen's models use:
//!
//! ```text
//! <tool_call>
//! {"name": "Read", "arguments": {"file_path": "a.txt"}}
//! </tool_call>
//! ```
//!
//! The parser takes any JSON whitespace in it; the grammar writes exactly the form above, which chat templates render too.

use llguidance::api::TopLevelGrammar;
use serde_json::{Value, json};

use super::Piece;

pub const OPEN: &str = "<tool_call>";
pub const CLOSE: &str = "</tool_call>";

/// Reads an answer's text as it comes and finds the tool calls in it.
///
/// What only looks like a call stays text. Text is given as soon as it cannot be the start of a call, and with all its
/// whitespace; the arguments are given as they come.
#[derive(Default)]
pub struct Parser {
    state: State,
    /// Text that is not decided yet.
    held: String,
}

#[derive(Default)]
enum State {
    #[default]
    Text,
    /// After the opening tag; the name is not known yet.
    Head,
    /// After `"arguments":`; the value has not started.
    Named { head: String, name: String },
    /// Inside the arguments.
    Arguments(JsonScan),
    /// After the arguments.
    Tail,
}

/// How far the held text is a certain piece of syntax.
enum Match<T> {
    /// It is, for this many bytes.
    Yes(T, usize),
    /// More text is needed to tell.
    More,
    No,
}

impl Parser {
    /// Takes more of the answer's text, gives what is certain.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        self.held.push_str(text);
        let mut pieces = Vec::new();
        while self.step(&mut pieces) {}
        pieces
    }

    /// The answer is over: what was held is text. Arguments that are not complete stay open.
    pub fn finish(&mut self) -> Vec<Piece> {
        let rest = std::mem::take(&mut self.held);
        let text = match std::mem::take(&mut self.state) {
            State::Text => rest,
            State::Head => format!("{OPEN}{rest}"),
            State::Named { head, .. } => format!("{OPEN}{head}{rest}"),
            State::Tail => return vec![Piece::ToolEnd],
            State::Arguments(_) => return vec![],
        };
        some_text(text).into_iter().collect()
    }

    /// Whether the text is inside a call, from the opening tag to the closing one.
    pub fn in_call(&self) -> bool {
        !matches!(self.state, State::Text)
    }

    /// Whether the text so far ends with a part of the opening tag, and if so, with how many bytes of it.
    pub fn opening_so_far(&self) -> usize {
        if self.in_call() { 0 } else { self.held.len() }
    }

    /// The name of the open call, between `"arguments":` and the arguments.
    pub fn announced(&self) -> Option<&str> {
        match &self.state {
            State::Named { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Where in the arguments' JSON the text stands.
    pub fn scan(&self) -> Option<&JsonScan> {
        match &self.state {
            State::Arguments(scan) => Some(scan),
            _ => None,
        }
    }

    /// Decides one piece of the held text; false when more text is needed.
    fn step(&mut self, pieces: &mut Vec<Piece>) -> bool {
        match &mut self.state {
            State::Text => match self.held.find(OPEN) {
                Some(at) => {
                    pieces.extend(some_text(self.take(at)));
                    self.take(OPEN.len());
                    self.state = State::Head;
                    true
                }
                None => {
                    let open = self.held.len() - ending_with_start_of(&self.held, OPEN);
                    pieces.extend(some_text(self.take(open)));
                    false
                }
            },
            State::Head => match head(&self.held) {
                Match::Yes(name, length) => {
                    let head = self.take(length);
                    self.state = State::Named { head, name };
                    true
                }
                Match::More => false,
                Match::No => self.give_up(OPEN.into(), pieces),
            },
            State::Named { head, name } => match syntax(&self.held, &["{"]) {
                Match::Yes((), length) => {
                    pieces.push(Piece::ToolStart { name: std::mem::take(name) });
                    // The brace is the first byte of the arguments.
                    self.held.drain(..length - 1);
                    self.state = State::Arguments(JsonScan::default());
                    true
                }
                Match::More => false,
                Match::No => {
                    let markup = format!("{OPEN}{head}");
                    self.give_up(markup, pieces)
                }
            },
            State::Arguments(scan) => {
                let end = self.held.bytes().position(|byte| scan.feed(byte));
                let json = self.take(end.map_or(self.held.len(), |end| end + 1));
                if !json.is_empty() {
                    pieces.push(Piece::ToolInput(json));
                }
                if end.is_some() {
                    self.state = State::Tail;
                }
                end.is_some()
            }
            State::Tail => match syntax(&self.held, &["}", CLOSE]) {
                Match::Yes((), length) => {
                    self.take(length);
                    pieces.push(Piece::ToolEnd);
                    self.state = State::Text;
                    true
                }
                Match::More => false,
                Match::No => {
                    pieces.push(Piece::ToolEnd);
                    self.state = State::Text;
                    true
                }
            },
        }
    }

    /// It was no call: its markup is text, and what follows is read anew.
    fn give_up(&mut self, markup: String, pieces: &mut Vec<Piece>) -> bool {
        pieces.push(Piece::Text(markup));
        self.state = State::Text;
        true
    }

    fn take(&mut self, length: usize) -> String {
        let rest = self.held.split_off(length);
        std::mem::replace(&mut self.held, rest)
    }
}

fn some_text(text: String) -> Option<Piece> {
    (!text.is_empty()).then_some(Piece::Text(text))
}

/// The length of the longest end of `text` that `whole` starts with, short of all of `whole`.
pub fn ending_with_start_of(text: &str, whole: &str) -> usize {
    let mut starts = (1..whole.len()).rev().filter(|length| whole.is_char_boundary(*length));
    starts.find(|length| text.ends_with(&whole[..*length])).unwrap_or(0)
}

/// `{"name": "…", "arguments":`, with any whitespace.
fn head(text: &str) -> Match<String> {
    let start = match syntax(text, &["{", "\"name\"", ":", "\""]) {
        Match::Yes((), start) => start,
        Match::More => return Match::More,
        Match::No => return Match::No,
    };
    let mut escaped = false;
    let end = text[start..].bytes().position(|byte| {
        let closing = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closing
    });
    let Some(end) = end.map(|end| start + end + 1) else { return Match::More };
    let Ok(name) = serde_json::from_str(&text[start - 1..end]) else { return Match::No };
    match syntax(&text[end..], &[",", "\"arguments\"", ":"]) {
        Match::Yes((), length) => Match::Yes(name, end + length),
        Match::More => Match::More,
        Match::No => Match::No,
    }
}

/// The words one after another, each after any JSON whitespace.
fn syntax(text: &str, words: &[&str]) -> Match<()> {
    let mut rest = text;
    for word in words {
        rest = rest.trim_start_matches([' ', '\n', '\r', '\t']);
        match rest.strip_prefix(word) {
            Some(after) => rest = after,
            None if word.starts_with(rest) => return Match::More,
            None => return Match::No,
        }
    }
    Match::Yes((), text.len() - rest.len())
}

/// Where in a JSON object or array one is: enough to find its end, and to tell how much is open.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonScan {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl JsonScan {
    /// Takes a byte; true when the object or array is complete with it.
    pub fn feed(&mut self, byte: u8) -> bool {
        match (self.in_string, byte) {
            (true, _) if self.escaped => self.escaped = false,
            (true, b'\\') => self.escaped = true,
            (true, b'"') => self.in_string = false,
            (true, _) => {}
            (false, b'"') => self.in_string = true,
            (false, b'{' | b'[') => self.depth += 1,
            (false, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            (false, _) => {}
        }
        false
    }

    /// How many closing signs it takes at least to complete the JSON.
    pub fn open(&self) -> usize {
        self.depth + usize::from(self.in_string) + usize::from(self.escaped)
    }

    /// How many objects and arrays are open.
    pub fn depth(&self) -> usize {
        self.depth
    }

    pub fn in_string(&self) -> bool {
        self.in_string
    }
}

/// How a tag is written in this vocabulary.
#[derive(Clone, Copy)]
pub enum Tag {
    /// As one token.
    Token(u32),
    /// As text; the vocabulary has no token for it.
    Text(&'static str),
}

impl Tag {
    fn lark(self) -> String {
        match self {
            Self::Token(id) => format!("<[{id}]>"),
            Self::Text(text) => lark_string(text),
        }
    }
}

/// From the opening tag (where it is still to come) to the colon before the arguments, for one of these tools.
///
/// The next token's usual boundary is there: the space belongs to the brace after it.
pub fn opening_grammar(tag: Option<Tag>, names: &[&str]) -> TopLevelGrammar {
    let names = names.iter().map(|name| lark_string(&json!(name).to_string())).collect::<Vec<_>>().join(" | ");
    let tag = tag.map(Tag::lark).unwrap_or_default();
    let (before, after) = (lark_string("\n{\"name\": "), lark_string(", \"arguments\":"));
    TopLevelGrammar::from_lark(format!("start: {tag} OPENING\nOPENING: {before} ({names}) {after}"))
}

/// From the space before the arguments to the closing tag.
pub fn arguments_grammar(close: Tag, schema: &Value) -> TopLevelGrammar {
    let tail = lark_string("}\n");
    TopLevelGrammar::from_lark(format!("start: \" \" arguments {tail} {}\narguments: %json {schema}", close.lark()))
}

/// A string as Lark writes it, which is as JSON does.
fn lark_string(text: &str) -> String {
    json!(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::joined;
    use super::*;
    use proptest::prelude::*;

    fn parse(chunks: &[&str]) -> Vec<Piece> {
        let mut parser = Parser::default();
        let mut pieces: Vec<Piece> = chunks.iter().flat_map(|chunk| parser.push(chunk)).collect();
        pieces.extend(parser.finish());
        joined(pieces)
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn call(name: &str, input: &str) -> [Piece; 3] {
        [Piece::ToolStart { name: name.into() }, Piece::ToolInput(input.into()), Piece::ToolEnd]
    }

    #[test]
    fn calls_are_found_among_text() {
        let [a, b, c] = call("X", r#"{"s": "}\" </tool_call>", "n": [{}]}"#);
        let [d, e, f] = call("Ü\n", "{ }");
        let answer = "before\n<tool_call>\n{\"name\": \"X\", \"arguments\": {\"s\": \"}\\\" </tool_call>\", \"n\": [{}]}}\n</tool_call>\nbetween\
                      <tool_call> {\n\"name\":\"\\u00dc\\n\" ,\"arguments\" : { } } </tool_call> after";
        assert_eq!(parse(&[answer]), [text("before\n"), a, b, c, text("\nbetween"), d, e, f, text(" after")]);
    }

    #[test]
    fn what_is_no_call_stays_text() {
        for answer in [
            "<tool_call>",
            "<tool_call>\n{\"name\": \"X\"",
            "<tool_call>not json</tool_call>",
            "<tool_call>{\"name\": 1, \"arguments\": {}}</tool_call>",
            "<tool_call>{\"name\": \"X\", \"arguments\": [1]}</tool_call>",
            "<tool_call>{\"name\": \"\\q\", \"arguments\": {}}</tool_call>",
            "</tool_call> <tool_cal",
        ] {
            assert_eq!(parse(&[answer]), [text(answer)], "{answer}");
        }
    }

    #[test]
    fn a_call_inside_a_broken_one_counts() {
        let [a, b, c] = call("X", "{}");
        let answer = "<tool_call>oops <tool_call>{\"name\": \"X\", \"arguments\": {}}</tool_call>";
        assert_eq!(parse(&[answer]), [text("<tool_call>oops "), a, b, c]);
    }

    #[test]
    fn a_call_with_more_after_its_arguments_is_complete_and_the_rest_is_text() {
        let [a, b, c] = call("X", "{}");
        assert_eq!(parse(&["<tool_call>{\"name\": \"X\", \"arguments\": {}, \"id\": 1}"]), [a, b, c, text(", \"id\": 1}")]);
    }

    #[test]
    fn arguments_are_given_as_they_come_and_stay_open_when_cut() {
        let mut parser = Parser::default();
        let head = parser.push("<tool_call>{\"name\": \"X\", \"arguments\": {\"a");
        assert_eq!(head, [Piece::ToolStart { name: "X".into() }, Piece::ToolInput("{\"a".into())]);
        assert_eq!(parser.push("\": 1"), [Piece::ToolInput("\": 1".into())]);
        assert_eq!((parser.in_call(), parser.finish()), (true, vec![]));
    }

    /// Pieces of answers, whole and broken.
    fn answers() -> impl Strategy<Value = String> {
        let parts = prop_oneof![
            Just("<tool_call>\n{\"name\": \"Read\", \"arguments\": {\"p\": \"é\\\\\\\"}\", \"q\": [1, {\"r\": null}]}}\n</tool_call>".to_owned()),
            Just("<tool_call>".to_owned()),
            Just("</tool_call>".to_owned()),
            Just("{\"name\": \"X\", \"arguments\": ".to_owned()),
            Just("{\"a\": 1}".to_owned()),
            Just("}".to_owned()),
            Just("<tool_".to_owned()),
            Just("\n ".to_owned()),
            ".{0,6}",
        ];
        proptest::collection::vec(parts, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_pieces(answer in answers(), seed in any::<u64>()) {
            let whole = parse(&[&answer]);
            let mut single = Vec::new();
            let mut mixed = vec![String::new()];
            let mut bits = seed;
            for c in answer.chars() {
                single.push(c.to_string());
                mixed.last_mut().unwrap().push(c);
                bits = bits.rotate_left(7).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                if bits & 3 == 0 {
                    mixed.push(String::new());
                }
            }
            for chunks in [single, mixed] {
                let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
                prop_assert_eq!(&parse(&chunks), &whole);
            }
        }

        #[test]
        fn nothing_but_markup_is_lost(answer in answers()) {
            let given: usize = parse(&[&answer]).iter().map(|piece| match piece {
                Piece::Text(text) | Piece::ToolInput(text) => text.len(),
                _ => 0,
            }).sum();
            let has_call = parse(&[&answer]).iter().any(|piece| matches!(piece, Piece::ToolStart { .. }));
            prop_assert!(has_call || given == answer.len());
        }
    }
}
