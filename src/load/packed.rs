//! Requests in little memory: a corpus has ten thousands, and few are under way.

use std::sync::Arc;

use zstd::bulk::{Compressor, Decompressor};

use crate::wire::MessagesRequest;

/// A request as compressed JSON. The JSON of its conversation's first request is the dictionary, as all requests of a
/// conversation begin alike.
#[derive(Clone, Debug)]
pub(super) struct PackedRequest {
    packed: Box<[u8]>,
    /// The length of the JSON, in bytes.
    length: usize,
    dictionary: Arc<Vec<u8>>,
}

impl PackedRequest {
    /// The request, packed. `first`: its conversation's first one, unless it is that itself.
    pub(super) fn of(request: &MessagesRequest, first: Option<&Self>) -> Self {
        // Cannot fail: every field is a string, a number or a map with string keys.
        let json = serde_json::to_vec(request).unwrap_or_default();
        let length = json.len();
        let dictionary = first.map_or_else(|| Arc::new(json.clone()), |first| Arc::clone(&first.dictionary));
        // The fastest level: what the dictionary has costs nothing at any.
        let packed = Compressor::with_dictionary(1, &dictionary).and_then(|mut compressor| compressor.compress(&json));
        // Fails only where memory cannot be had, which ends the process anyway. The compressor leaves room for bytes that compress
        // badly; as a box, they take what they need.
        Self { packed: packed.expect("bytes in memory are compressed").into_boxed_slice(), length, dictionary }
    }

    /// The request again.
    pub(super) fn get(&self) -> MessagesRequest {
        let unpacked = Decompressor::with_dictionary(&self.dictionary)
            .and_then(|mut decompressor| decompressor.decompress(&self.packed, self.length));
        let json = unpacked.expect("this dictionary and this length packed it");
        // Cannot fail: this is how a request was written, and requests are read as they are written.
        serde_json::from_slice(&json).expect("a request that was packed")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(turns: usize) -> MessagesRequest {
        // No text that would compress well by itself.
        let system: String = (0_u64..4000).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        let messages: Vec<_> = (0..turns).map(|n| json!({"role": "user", "content": format!("Question {n}")})).collect();
        serde_json::from_value(json!({"model": "m", "max_tokens": 5, "system": system, "messages": messages})).unwrap()
    }

    #[test]
    fn a_request_comes_back_as_it_was_and_costs_what_is_new_in_it() {
        let first = PackedRequest::of(&request(1), None);
        let second = PackedRequest::of(&request(3), Some(&first));
        assert_eq!((first.get(), second.get()), (request(1), request(3)));
        assert!(second.length > 50_000 && second.packed.len() < 500, "{} of {}", second.packed.len(), second.length);
    }
}
