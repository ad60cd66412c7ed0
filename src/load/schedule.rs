//! When each request of a workload is meant to begin. Pure: chance comes from a seed.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::{Arrivals, Pattern, Shard, Start, Turn, Workload};
use crate::wire::{Content, ContentBlock, InputMessage, MessagesRequest};

/// When each request is meant to begin.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The conversations, in the order in which they may begin.
    pub conversations: Vec<PlannedConversation>,
    /// How many may be open at once.
    pub at_once: usize,
}

/// The requests of one conversation, one after the other.
#[derive(Clone, Debug)]
pub struct PlannedConversation {
    /// What tells it from other copies, at the start of its first message.
    pub mark: String,
    /// The requests.
    pub turns: Vec<PlannedTurn>,
}

/// A request, and when it is meant to begin.
#[derive(Clone, Debug)]
pub struct PlannedTurn {
    /// What is sent, without the mark.
    pub turn: Arc<Turn>,
    /// When.
    pub start: Start,
}

impl PlannedTurn {
    /// The request as it is sent, with the conversation's mark. Made when it is sent: a copy of each in memory would be too much.
    pub(super) fn request(&self, mark: &str) -> MessagesRequest {
        marked(self.turn.request(), mark)
    }
}

/// What tells the conversations of one run from those of another, and how chance falls.
#[derive(Clone, Copy, Debug)]
pub struct Dice {
    /// From which the arrivals follow.
    pub seed: u64,
    /// A number that no earlier run had, so that no earlier run's prompts are in a cache.
    pub run: u64,
}

/// Plans so many requests: the workload once, or as often as it takes. Each copy of a conversation has a mark of its own in its
/// first message, so that what is found in a cache is what a conversation of its own would find: the tools and the system prompt,
/// and the turns before.
///
/// At a rate, the first requests of all conversations come first, then the second ones, so that few have to wait for the answer
/// before them.
pub fn schedule(workload: &Workload, pattern: Pattern, requests: Option<usize>, shard: Shard, dice: Dice) -> Schedule {
    let mut conversations = copies(workload, requests, shard, dice.run);
    let mut at_once = conversations.len().max(1);
    let turns = conversations.iter_mut().flat_map(|conversation| &mut conversation.turns);
    match pattern {
        Pattern::Concurrency(limit) => {
            at_once = limit.get();
            turns.for_each(|turn| turn.start = Start::AfterAnswer(Duration::ZERO));
        }
        Pattern::AsRecorded { speed, .. } => turns.for_each(|turn| turn.start = turn.start.at_speed(speed)),
        Pattern::Rate { per_s, arrivals } => set_arrivals(&mut conversations, per_s, arrivals, shard, dice.seed),
    }
    Schedule { conversations, at_once }
}

/// How long a recording is taken to last of which nobody knows: one request whose answer has no recorded end. Otherwise all its
/// copies would come at once.
const UNKNOWN_PERIOD: Duration = Duration::from_secs(1);

/// The conversations of a shard, as they were recorded, once or as often as it takes.
fn copies(workload: &Workload, requests: Option<usize>, shard: Shard, run: u64) -> Vec<PlannedConversation> {
    let mut planned = Vec::new();
    let mut left = requests.unwrap_or(usize::MAX);
    let copies = if requests.is_none() || workload.requests() == 0 { 1 } else { usize::MAX };
    let period = if workload.lasts.is_zero() { UNKNOWN_PERIOD } else { workload.lasts };
    for copy in 0..copies {
        for (index, conversation) in workload.conversations.iter().enumerate() {
            if left == 0 {
                return planned;
            }
            // Copies are dealt out too, so that a few conversations are enough for many shards.
            if !shard.has(index + copy * workload.conversations.len()) {
                continue;
            }
            let mark = format!("{run:016x}-{copy}-{index}");
            // A copy begins when the last answer of the one before has ended.
            let later = period.saturating_mul(copy.try_into().unwrap_or(u32::MAX));
            let turns = conversation.turns.iter().take(left);
            let turns: Vec<_> = turns.map(|turn| PlannedTurn { turn: turn.clone(), start: turn.start.later(later) }).collect();
            left -= turns.len();
            planned.push(PlannedConversation { mark, turns });
        }
    }
    planned
}

/// The request with a mark at the start of its first message.
fn marked(mut request: MessagesRequest, mark: &str) -> MessagesRequest {
    let block = ContentBlock::text(format!("[{mark}]"));
    if let Some(InputMessage { content, .. }) = request.messages.first_mut() {
        match content {
            Content::Text(text) => *content = Content::Blocks(vec![block, ContentBlock::text(std::mem::take(text))]),
            Content::Blocks(blocks) => blocks.insert(0, block),
        }
    }
    request
}

/// The chance of one shard. Hashed, so that shards and seeds beside each other have nothing in common.
fn dice(seed: u64, shard: Shard) -> StdRng {
    let mut hash = Sha256::new();
    for number in [seed, shard.nth as u64, shard.of as u64] {
        hash.update(number.to_le_bytes());
    }
    StdRng::from_seed(hash.finalize().into())
}

fn set_arrivals(conversations: &mut [PlannedConversation], per_s: f64, arrivals: Arrivals, shard: Shard, seed: u64) {
    let mut dice = dice(seed, shard);
    let mut at_s = 0.0;
    let mut nth = 0;
    let most = conversations.iter().map(|conversation| conversation.turns.len()).max().unwrap_or(0);
    for turn in 0..most {
        for planned in conversations.iter_mut().filter_map(|conversation| conversation.turns.get_mut(turn)) {
            at_s = match arrivals {
                // Shards take turns, so that all together are at the same distance.
                Arrivals::Constant => (nth * shard.of + shard.nth - 1) as f64 / per_s,
                // Independent Poisson processes add up to one.
                Arrivals::Poisson => at_s - (1.0 - dice.random::<f64>()).ln() * shard.of as f64 / per_s,
            };
            planned.start = Start::At(Duration::from_secs_f64(at_s));
            nth += 1;
        }
    }
}
