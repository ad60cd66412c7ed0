//! Splitting a byte stream into server-sent events, whatever its chunk boundaries.
//!
//! The `eventsource-stream` crate will not do. Before the recorder passes a chunk on, it must know whether an event ends in it. And
//! an event without an end takes that crate time quadratic in its length, and memory without a bound.

use memchr::memchr2;
use serde::Deserialize;

/// The largest event, in bytes: far more than any has.
const LARGEST_EVENT: usize = 64 << 20;

/// An event that has no end, or as good as none. What came of it is dropped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {} MiB, which none has", LARGEST_EVENT >> 20)]
pub(crate) struct EventTooLarge {
    /// The whole events that came with it, before it.
    pub before: Vec<Frame>,
}

/// One event as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The `event:` line; empty if there was none.
    pub event: String,
    /// The `data:` lines, joined by line feeds.
    pub data: String,
}

impl Frame {
    /// The event's name. Without an `event:` line it is the `type` in the data, which is the same in Anthropic's events.
    pub(crate) fn name(&self) -> String {
        if !self.event.is_empty() {
            return self.event.clone();
        }
        // Nothing but the type is kept: the data may be far heavier as values than as text.
        #[derive(Deserialize)]
        struct Typed {
            r#type: String,
        }
        serde_json::from_str(&self.data).map_or_else(|_| "message".into(), |Typed { r#type }| r#type)
    }
}

/// The names and the data of the events in a stream that comes in these pieces, for the fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn frames_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(String, String)> {
    let mut splitter = Splitter::default();
    let mut frames: Vec<Frame> = pieces.into_iter().flat_map(|piece| splitter.push(piece).unwrap_or_default()).collect();
    frames.extend(splitter.finish());
    frames.into_iter().map(|frame| (frame.name(), frame.data)).collect()
}

/// Splits bytes into events.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    /// The current line so far.
    line: Vec<u8>,
    /// Whether the last byte was a carriage return, to which a line feed would belong.
    after_cr: bool,
    /// The current event so far.
    event: String,
    data: Option<String>,
}

impl Splitter {
    /// The events that end in these bytes.
    ///
    /// # Errors
    /// What has not ended is larger than any event.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Frame>, EventTooLarge> {
        let mut frames = Vec::new();
        while let Some(end) = memchr2(b'\n', b'\r', bytes) {
            self.line.extend_from_slice(&bytes[..end]);
            let ends_crlf = end == 0 && bytes[end] == b'\n' && self.after_cr;
            if !ends_crlf {
                frames.extend(self.end_line());
            }
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
        }
        self.after_cr &= bytes.is_empty();
        self.line.extend_from_slice(bytes);
        let held = self.line.len() + self.event.len() + self.data.as_ref().map_or(0, String::len);
        if held > LARGEST_EVENT {
            *self = Self::default();
            return Err(EventTooLarge { before: frames });
        }
        Ok(frames)
    }

    /// The event that ends with the stream. Its final blank line may be missing: clients accept that too.
    pub(crate) fn finish(&mut self) -> Option<Frame> {
        self.end_line().or_else(|| self.end_line())
    }

    fn end_line(&mut self) -> Option<Frame> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        let line = line.trim_start_matches('\u{feff}');
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return self.data.take().map(|data| Frame { event, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match (field, &mut self.data) {
            ("event", _) => self.event = value.to_owned(),
            ("data", Some(data)) => {
                data.push('\n');
                data.push_str(value);
            }
            ("data", empty) => *empty = Some(value.to_owned()),
            // Comments, ids and retry times.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(event: &str, data: &str) -> Frame {
        Frame { event: event.into(), data: data.into() }
    }

    fn split(text: &str) -> Vec<Frame> {
        let mut splitter = Splitter::default();
        let mut frames = splitter.push(text.as_bytes()).unwrap();
        frames.extend(splitter.finish());
        frames
    }

    #[test]
    fn events_are_split_as_the_standard_says() {
        let cases: [(&str, Vec<Frame>); 8] = [
            ("event: ping\ndata: {}\n\n", vec![frame("ping", "{}")]),
            ("data:a\ndata: b\ndata:  c\n\n", vec![frame("", "a\nb\n c")]),
            ("event: a\r\ndata: 1\r\n\r\nevent: b\rdata: 2\r\r", vec![frame("a", "1"), frame("b", "2")]),
            (": comment\n\nevent: lonely\n\ndata: x\n\n", vec![frame("", "x")]),
            ("id: 1\nretry: 5\ndata: x\n\n", vec![frame("", "x")]),
            ("data\n\n", vec![frame("", "")]),
            ("data: no blank line\n", vec![frame("", "no blank line")]),
            ("data: no line end", vec![frame("", "no line end")]),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_name_is_the_event_line_or_the_type_in_the_data() {
        let cases =
            [(frame("ping", "{}"), "ping"), (frame("", "{\"type\":\"error\"}"), "error"), (frame("", "[DONE]"), "message")];
        for (frame, name) in cases {
            assert_eq!(frame.name(), name);
        }
    }

    #[test]
    fn an_event_without_end_is_an_error() {
        let megabyte = "x".repeat(1 << 20);
        let lines = |line: String| {
            let mut splitter = Splitter::default();
            (0..100).find_map(|_| splitter.push(line.as_bytes()).err())
        };
        let too_large = || Some(EventTooLarge { before: Vec::new() });
        assert_eq!(lines(format!("data: {megabyte}\n")), too_large());
        assert_eq!(lines(megabyte.clone()), too_large());
        assert_eq!(lines(format!("data: {megabyte}\n\n")), None);
    }

    #[test]
    fn an_event_that_is_too_large_takes_no_others_along_and_no_memory() {
        let mut splitter = Splitter::default();
        let endless = format!("data: 1\n\nevent: a\ndata: {}", "x".repeat(LARGEST_EVENT));
        assert_eq!(splitter.push(endless.as_bytes()), Err(EventTooLarge { before: vec![frame("", "1")] }));
        assert_eq!(splitter.line.capacity(), 0);
        assert_eq!((splitter.push(b""), splitter.finish()), (Ok(Vec::new()), None));
    }

    proptest! {
        #[test]
        fn chunk_boundaries_do_not_matter(cuts in prop::collection::vec(0usize..70, 0..10)) {
            let text = "event: délta\r\ndata: {\"t\":\"é日🦀\"}\r\n\r\n: x\n\ndata: 1\ndata: 2\n\n";
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort();
            let mut splitter = Splitter::default();
            let frames: Vec<Frame> = cuts.windows(2).flat_map(|pair| splitter.push(&bytes[pair[0]..pair[1]]).unwrap()).collect();
            prop_assert_eq!(frames, split(text));
        }
    }
}
