//! The requests of a transcript, rebuilt from what changed between them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::canonical::{CACHE_CONTROL, request_digest, uncached_digest};
use super::line::{CacheMark, Request, Shape};
use super::messages::{Message, Messages};

/// How many requests are rebuilt at once, each by any thread.
const AT_ONCE: usize = 32;

/// A message, or the digest of one that the transcript does not hold.
type Known = Result<Arc<Message>, String>;

/// The requests so far, in order. What they have in common is in memory once.
#[derive(Default)]
pub(super) struct Requests {
    shapes: HashMap<String, Map<String, Value>>,
    all: Vec<Kept>,
    places: HashMap<String, usize>,
}

/// A request, with what its messages are.
struct Kept {
    /// The number of its line.
    line: usize,
    request: Request,
    /// The place of the request whose messages it begins with.
    base: Option<usize>,
    tail: Vec<Known>,
}

/// Why a request cannot be rebuilt. Shown behind the request's place.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unknown {
    #[error("the request begins like one that is not in the transcript ({0})")]
    Base(String),
    #[error("message {at} of {of} is not in the transcript (its digest begins {})", .digest.chars().take(12).collect::<String>())]
    Message { at: usize, of: usize, digest: String },
    #[error("its system prompt and tools are not in the transcript (their digest begins {})", .0.chars().take(12).collect::<String>())]
    Shape(String),
    #[error("a part that was too large is not in the transcript ({0})")]
    Cut(String),
    #[error("it marks a place for caching that it does not have")]
    Mark,
    #[error("it keeps more messages than there can be")]
    Keep,
    #[error("it has no digest, so what is rebuilt cannot be checked")]
    NoDigest,
    #[error("what was rebuilt is not what was sent: the digests differ")]
    Digest,
}

impl Requests {
    /// Adds a system prompt with its tools; whether its name is right.
    pub(super) fn add_shape(&mut self, Shape { shape_hash, shape }: Shape) -> bool {
        let shape = Value::Object(shape);
        let is_right = uncached_digest(&shape) == shape_hash;
        if let (true, Value::Object(shape)) = (is_right, shape) {
            self.shapes.insert(shape_hash, shape);
        }
        is_right
    }

    /// Adds the request of a line, with the messages that are known by now.
    pub(super) fn add(&mut self, line: usize, request: Request, messages: &mut Messages) {
        let base = request.base.as_ref().and_then(|base| self.places.get(base).copied());
        let tail = request.tail.iter().map(|digest| messages.find(digest).ok_or_else(|| digest.clone())).collect();
        self.places.insert(request.id.clone(), self.all.len());
        self.all.push(Kept { line, request, base, tail });
    }

    /// Each request, in order, with the number of its line and its body, or the reason why that cannot be rebuilt.
    pub(super) fn rebuilt(&self) -> impl Iterator<Item = (usize, &Request, Result<Value, Unknown>)> {
        self.all.chunks(AT_ONCE).flat_map(|some| {
            let rebuilt = some.par_iter().map(|kept| (kept.line, &kept.request, self.body(kept)));
            rebuilt.collect::<Vec<_>>()
        })
    }

    /// The messages of a request.
    fn messages_of<'a>(&'a self, kept: &'a Kept) -> Result<Vec<&'a Known>, Unknown> {
        // From the last to the first.
        let mut messages: Vec<&Known> = Vec::new();
        let mut wanted = kept.request.keep.checked_add(kept.tail.len()).ok_or(Unknown::Keep)?;
        let mut at = kept;
        loop {
            let from_tail = wanted.checked_sub(at.request.keep);
            let tail = from_tail.map_or(Some(&[][..]), |count| at.tail.get(..count));
            messages.extend(tail.ok_or_else(|| at.lost_base())?.iter().rev());
            wanted = wanted.min(at.request.keep);
            if wanted == 0 {
                messages.reverse();
                return Ok(messages);
            }
            at = at.base.and_then(|base| self.all.get(base)).ok_or_else(|| at.lost_base())?;
        }
    }

    /// The body of a request, checked.
    fn body(&self, kept: &Kept) -> Result<Value, Unknown> {
        let request = &kept.request;
        if let Some(cut) = &request.cut {
            return Err(Unknown::Cut(cut["kind"].as_str().map_or_else(|| cut.to_string(), str::to_owned)));
        }
        let shape = self.shapes.get(&request.shape_hash).ok_or_else(|| Unknown::Shape(request.shape_hash.clone()))?;
        let messages = self.messages_of(kept)?;
        let mut known: Vec<&Message> = Vec::with_capacity(messages.len());
        for (at, message) in messages.iter().enumerate() {
            let missing = |digest: &String| Unknown::Message { at: at + 1, of: messages.len(), digest: digest.clone() };
            known.push(message.as_ref().map_err(missing)?);
        }
        let whole = known.iter().map(|message| message.value.clone()).collect();
        let mut body = Map::new();
        // In the order in which Claude Code sends them.
        body.extend(request.params.get("model").map(|model| ("model".to_owned(), model.clone())));
        body.insert("messages".to_owned(), Value::Array(whole));
        body.extend(shape.iter().map(|(key, value)| (key.clone(), value.clone())));
        for (key, value) in &request.params {
            body.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let mut body = Value::Object(body);
        for mark in &request.cache_control {
            set(&mut body, mark).ok_or(Unknown::Mark)?;
        }
        let marked: HashSet<u64> = request.cache_control.iter().filter_map(CacheMark::message).collect();
        // A shape that has messages itself, as none of Claude Code's does, has put them in place of these.
        let are_own = !shape.contains_key("messages");
        let unmarked = |at: usize| {
            let message = known.get(at).filter(|_| are_own && !marked.contains(&(at as u64)))?;
            Some(message.canonical())
        };
        // No mark makes it anything else.
        let Value::Object(mut body) = body else { return Err(Unknown::Mark) };
        if request_digest(&body, unmarked) != *request.request_digest.as_ref().ok_or(Unknown::NoDigest)? {
            return Err(Unknown::Digest);
        }
        // They were sent as a header.
        body.shift_remove("betas");
        Ok(Value::Object(body))
    }
}

impl Kept {
    fn lost_base(&self) -> Unknown {
        Unknown::Base(self.request.base.clone().unwrap_or_default())
    }
}

impl CacheMark {
    /// The place of the message that it is in; `None` if it is in none.
    fn message(&self) -> Option<u64> {
        match self.path.as_slice() {
            [list, at, ..] if list == "messages" => at.as_u64(),
            _ => None,
        }
    }
}

/// Sets a `cache_control` at its place; `None` if there is no such place.
fn set(body: &mut Value, mark: &CacheMark) -> Option<()> {
    let mut place = body;
    for step in &mark.path {
        place = match step {
            Value::String(key) => place.get_mut(key)?,
            index => place.get_mut(usize::try_from(index.as_u64()?).ok()?)?,
        };
    }
    place.as_object_mut()?.insert(CACHE_CONTROL.to_owned(), mark.value.clone());
    Some(())
}
