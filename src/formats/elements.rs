//! The elements of a list in a JSON file that is too large for memory, each as its bytes.
//!
//! `serde_json` takes a reader byte by byte and a slice many bytes at once. So the ends of the elements are found here, and
//! what is between them is for `serde_json` to read and to judge.

use std::io::{self, BufRead};

use super::value_end::ValueEnd;

/// The most bytes of an element: more than any exchange has.
const MAX_ELEMENT: usize = 1 << 30;

/// Why a list was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum ElementsError<E> {
    /// The file is no JSON, or has no such list. The offset is in bytes.
    #[error("byte {offset}: {reason}")]
    Malformed { offset: u64, reason: String },
    #[error(transparent)]
    Read(#[from] io::Error),
    /// Whoever takes the elements wants no more.
    #[error("{0}")]
    Taking(E),
}

/// Hands over each element of the list to which the keys lead, as `["log", "entries"]` to the list in `{"log": {"entries": []}}`.
/// One element is in memory at a time. What stands behind the outermost object is not read.
///
/// # Errors
/// The file cannot be read, is not such a JSON, an element is longer than 1 GiB, or `take` fails.
pub(super) fn for_each_element<E>(
    reader: &mut dyn BufRead,
    keys: &[&str],
    take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), ElementsError<E>> {
    Json { reader, offset: 0, value: Vec::new() }.enter(keys, take)
}

/// A JSON text on the way.
struct Json<'a> {
    reader: &'a mut dyn BufRead,
    /// How many bytes were read.
    offset: u64,
    /// The last value that was read, as it is written.
    value: Vec<u8>,
}

impl Json<'_> {
    fn enter<E>(&mut self, keys: &[&str], take: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), ElementsError<E>> {
        let Some((wanted, keys)) = keys.split_first() else { return self.each_element(take) };
        let mut is_there = false;
        let mut more = self.opens(b'{', b'}')?;
        while more {
            self.read_value()?;
            let key: String = serde_json::from_slice(&self.value).map_err(|_| self.malformed("a key was expected".to_owned()))?;
            self.expect(b':')?;
            if key == *wanted {
                is_there = true;
                self.enter(keys, take)?;
            } else {
                self.read_value()?;
            }
            more = self.goes_on(b'}')?;
        }
        if is_there { Ok(()) } else { Err(self.malformed(format!("an object without the field `{wanted}`"))) }
    }

    fn each_element<E>(&mut self, take: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), ElementsError<E>> {
        let mut more = self.opens(b'[', b']')?;
        while more {
            self.read_value()?;
            take(&self.value).map_err(ElementsError::Taking)?;
            more = self.goes_on(b']')?;
        }
        Ok(())
    }

    /// Passes over the beginning of a list or an object. Whether something is in it.
    fn opens<E>(&mut self, open: u8, close: u8) -> Result<bool, ElementsError<E>> {
        self.expect(open)?;
        let is_empty = self.next_byte()? == close;
        if is_empty {
            self.pass(1);
        }
        Ok(!is_empty)
    }

    /// Passes over what stands behind an element. Whether another one follows.
    fn goes_on<E>(&mut self, close: u8) -> Result<bool, ElementsError<E>> {
        let byte = self.next_byte()?;
        if byte != b',' && byte != close {
            let (close, byte) = (char::from(close), char::from(byte));
            return Err(self.malformed(format!("`,` or `{close}` was expected, {byte:?} came")));
        }
        self.pass(1);
        Ok(byte == b',')
    }

    fn expect<E>(&mut self, wanted: u8) -> Result<(), ElementsError<E>> {
        let byte = self.next_byte()?;
        if byte != wanted {
            let (wanted, byte) = (char::from(wanted), char::from(byte));
            return Err(self.malformed(format!("`{wanted}` was expected, {byte:?} came")));
        }
        self.pass(1);
        Ok(())
    }

    /// The next byte that is no white space. It stays unread.
    fn next_byte<E>(&mut self) -> Result<u8, ElementsError<E>> {
        loop {
            let bytes = self.reader.fill_buf()?;
            if bytes.is_empty() {
                return Err(self.ended());
            }
            let blank = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let next = bytes.get(blank).copied();
            self.pass(blank);
            if let Some(next) = next {
                return Ok(next);
            }
        }
    }

    /// Reads a whole value into `self.value`.
    fn read_value<E>(&mut self) -> Result<(), ElementsError<E>> {
        self.next_byte()?;
        self.value.clear();
        let mut end = ValueEnd::default();
        loop {
            let bytes = self.reader.fill_buf()?;
            if bytes.is_empty() {
                return Err(self.ended());
            }
            let (length, has_ended) = end.within(bytes);
            if self.value.len() + length > MAX_ELEMENT {
                return Err(self.malformed(format!("a value longer than {} MiB", MAX_ELEMENT >> 20)));
            }
            self.value.extend_from_slice(&bytes[..length]);
            self.pass(length);
            if has_ended {
                return Ok(());
            }
        }
    }

    fn pass(&mut self, count: usize) {
        self.reader.consume(count);
        self.offset += count as u64;
    }

    fn ended<E>(&self) -> ElementsError<E> {
        self.malformed("the file ends here, in the middle".to_owned())
    }

    fn malformed<E>(&self, reason: String) -> ElementsError<E> {
        ElementsError::Malformed { offset: self.offset, reason }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::BufReader;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The elements of `log.entries`, read in pieces of this size.
    fn elements(text: &str, piece: usize) -> Result<Vec<Value>, String> {
        let mut found = Vec::new();
        let mut take = |bytes: &[u8]| {
            found.push(serde_json::from_slice(bytes).unwrap());
            Ok::<(), Infallible>(())
        };
        let mut reader = BufReader::with_capacity(piece, text.as_bytes());
        for_each_element(&mut reader, &["log", "entries"], &mut take).map_err(|error| error.to_string())?;
        Ok(found)
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\\\\\"\\[\\]{},: ]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn elements_are_those_of_the_whole(
            entries in prop::collection::vec(any_json(), 0..5), other in any_json(), pretty: bool, piece in 1_usize..40,
        ) {
            let whole = json!({"a": other, "log": {"b": other, "entries": entries, "z": other}});
            let text = if pretty { serde_json::to_string_pretty(&whole) } else { serde_json::to_string(&whole) }.unwrap();
            prop_assert_eq!(elements(&text, piece).unwrap(), entries);
        }

        #[test]
        fn nothing_panics(text in "[\\\\\"\\[\\]{},: a1log]{0,40}", piece in 1_usize..9) {
            let mut reader = BufReader::with_capacity(piece, text.as_bytes());
            let _ = for_each_element(&mut reader, &["log"], &mut |_| Ok::<(), Infallible>(()));
        }
    }

    #[test]
    fn what_is_no_such_list_is_said_with_its_place() {
        let cases = [
            r#"{"log": {"entries": [1, 2"#,
            r#"{"log": {"entries": [1 2]}}"#,
            r#"{"log": {"other": []}}"#,
            r#"{"log": []}"#,
            r#"{"log": {1: 2}}"#,
            "",
        ];
        let said = cases.map(|text| format!("{text:?}: {}", elements(text, 8).unwrap_err()));
        insta::assert_snapshot!(said.join("\n"), @r#"
        "{\"log\": {\"entries\": [1, 2": byte 25: the file ends here, in the middle
        "{\"log\": {\"entries\": [1 2]}}": byte 23: `,` or `]` was expected, '2' came
        "{\"log\": {\"other\": []}}": byte 21: an object without the field `entries`
        "{\"log\": []}": byte 8: `{` was expected, '[' came
        "{\"log\": {1: 2}}": byte 11: a key was expected
        "": byte 0: the file ends here, in the middle
        "#);
    }
}
