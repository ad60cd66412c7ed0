//! Joint buffers: keys and values of several sequences that decode together, in one buffer with a row for each. So attention reads
//! those of all sequences in one call. Only the GPU path has them: there an operation costs time before it computes anything.
//!
//! A row begins with its sequence's first token, and what follows its last one is not attended to. Each member has handles of
//! the same arrays. A write makes new arrays (in place, where nobody else holds the old ones), so whoever writes gives all
//! members the new ones. Members that compute without some of the others part from these: they know only each other then, and the
//! arrays of the others stay as they are.

use std::ops::Range;
use std::rc::Rc;

use mlx_rs::error::Exception;
use mlx_rs::ops::{arange, gt, le, logical_and, subtract};
use mlx_rs::{Array, array};

use super::KvCache;
use super::device_work::{count_copy, wait};
use super::kv_buffer::LayerKv;

/// A sequence's row of joint buffers.
#[derive(Clone, Debug)]
pub(super) struct JointRow {
    /// How many rows the buffers have; one allocation for all members, by which they know each other.
    rows: Rc<i32>,
    /// Which of them is the sequence's.
    pub index: i32,
}

impl JointRow {
    /// Number of rows.
    pub(super) fn rows(&self) -> i32 {
        *self.rows
    }

    /// Whether two sequences know each other.
    pub(super) fn shares_with(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.rows, &other.rows)
    }

    /// Lets members know only each other from now on.
    pub(super) fn part(members: &mut [&mut KvCache]) {
        let Some(rows) = members.first().and_then(|first| first.joint_row()).map(|row| Rc::new(row.rows())) else { return };
        for member in members {
            let row = member.joint_row().map(|row| Self { rows: rows.clone(), index: row.index });
            member.place(row);
        }
    }

    /// Whether these are all rows of one joint, in their order.
    pub(super) fn are_whole(rows: &[Option<&Self>]) -> bool {
        let first = rows.first().copied().flatten();
        let in_place = |(index, row): (usize, &Option<&Self>)| match (first, row) {
            (Some(first), Some(row)) => first.shares_with(row) && row.index as usize == index,
            _ => false,
        };
        rows.iter().enumerate().all(in_place) && first.is_some_and(|first| first.rows() as usize == rows.len())
    }
}

impl KvCache {
    /// Whether [`KvCache::join`] would change nothing.
    pub fn are_joined(caches: &[&Self]) -> bool {
        match caches {
            [cache] => cache.joint_row().is_none(),
            _ => JointRow::are_whole(&caches.iter().map(|cache| cache.joint_row()).collect::<Vec<_>>()),
        }
    }

    /// Copies the keys and values of these sequences into joint buffers, with room for the longest. A single one gets buffers of
    /// its own again. Layers are copied one after the other, so that each one's old buffers are gone before the next. Only on the
    /// GPU path, and where every layer has keys and values. After an error the sequences cannot go on.
    pub fn join(caches: &mut [&mut Self]) -> Result<(), Exception> {
        let capacity = caches.iter().map(|cache| cache.wanted_capacity()).max().unwrap_or(0);
        let layers = caches.first().map_or(0, |cache| cache.layers());
        let copied = (0..layers).try_for_each(|layer| {
            let joint = joint(caches, layer, capacity)?;
            wait(joint.arrays())?;
            caches.iter_mut().for_each(|cache| cache.share_buffers(layer, joint.clone()));
            Ok(())
        });
        if copied.is_err() {
            caches.iter_mut().for_each(|cache| cache.forget_buffers());
        }
        let rows = (caches.len() > 1).then(|| Rc::new(caches.len() as i32));
        for (index, cache) in caches.iter_mut().enumerate() {
            cache.place(rows.clone().map(|rows| JointRow { rows, index: index as i32 }));
        }
        copied
    }
}

/// A forward pass over all sequences of joint buffers, each of which has as many new tokens.
pub(super) struct JointPass {
    /// Each sequence's positions of its new tokens, `[rows, 1, new tokens, 1]`.
    positions: Array,
    /// Tokens of the shortest sequence, without the new ones.
    shortest: usize,
    /// Tokens of the longest sequence, with the new ones.
    end: usize,
    /// The masks of the windows that layers have had so far.
    masks: Vec<(Option<i32>, Array)>,
}

impl JointPass {
    /// A pass over `new` tokens of sequences of these lengths.
    pub(super) fn new(lengths: &[usize], new: usize) -> Self {
        let positions: Vec<i32> = lengths.iter().flat_map(|length| (*length..).take(new)).map(|at| at as i32).collect();
        let positions = Array::from_slice(&positions, &[lengths.len() as i32, 1, new as i32, 1]);
        let (shortest, longest) = (lengths.iter().min().copied(), lengths.iter().max().copied());
        Self { positions, shortest: shortest.unwrap_or(0), end: longest.unwrap_or(0) + new, masks: Vec::new() }
    }

    /// Writes a layer's keys and values of new tokens, of as many rows, after the tokens of all sequences.
    pub(super) fn write(&self, all: &mut [&mut KvCache], layer: usize, new: &LayerKv) -> Result<(), Exception> {
        let first = all.first().ok_or_else(|| Exception::custom("no sequence to write to"))?;
        let mut buffers = first.buffers(layer)?.clone();
        if buffers.capacity() < self.end {
            count_copy(buffers.bytes());
            buffers = buffers.enlarged(buffers.capacity(), KvCache::grown_capacity(self.end))?;
        }
        buffers.write_rows(&self.positions, new)?;
        all.iter_mut().for_each(|cache| cache.share_buffers(layer, buffers.clone()));
        Ok(())
    }

    /// The keys and values that a layer with this `window` attends to, and its mask `[rows, 1, new tokens, T]`: true where a key is
    /// at its query's position or before, with a window at most `window - 1` before.
    pub(super) fn attended(&mut self, buffers: &LayerKv, window: Option<i32>) -> Result<(LayerKv, Array), Exception> {
        // No query sees a token before this one.
        let start = window.map_or(0, |window| (self.shortest + 1).saturating_sub(window as usize));
        let known = self.masks.iter().find(|(of, _)| *of == window).map(|(_, mask)| mask.clone());
        let mask = match known {
            Some(mask) => mask,
            None => {
                let mask = mask(&self.positions, start..self.end, window)?;
                self.masks.push((window, mask.clone()));
                mask
            }
        };
        Ok((buffers.tokens(start..self.end)?, mask))
    }
}

fn mask(positions: &Array, keys: Range<usize>, window: Option<i32>) -> Result<Array, Exception> {
    let keys = arange::<i32, i32>(keys.start as i32, keys.end as i32, 1)?;
    let before = le(&keys, positions)?;
    match window {
        Some(window) => logical_and(before, gt(&keys, subtract(positions, array!(window))?)?),
        None => Ok(before),
    }
}

/// A layer's joint buffers.
fn joint(caches: &[&mut KvCache], layer: usize, capacity: usize) -> Result<LayerKv, Exception> {
    let all = caches.iter().map(|cache| cache.own(layer, cache.tokens())).collect::<Result<Vec<_>, _>>()?;
    // Cannot fail: there is at least one sequence.
    let first = all.first().ok_or_else(|| Exception::custom("no sequence to join"))?;
    let mut joint = first.with_room(all.len(), capacity)?;
    for (row, own) in all.iter().enumerate() {
        count_copy(own.bytes());
        joint.write(row as i32, 0, own)?;
    }
    Ok(joint)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::engine::model::{ComputePath, Model, SequenceInput};
    use crate::engine::testing::{gemma4, glm_lite, hybrid, model_with, prompt, same_cases};

    /// What happens to some sequences.
    #[derive(Clone, Debug)]
    enum Happening {
        /// A pass over this many new tokens of each, of which the last ones, if `rejected`, are cut again.
        Pass {
            new: [usize; 4],
            rejected: bool,
        },
        /// A pass over one sequence alone.
        Alone(usize),
        Seal,
        Join,
        /// One of them ends.
        End(usize),
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            4 => prop_oneof![Just([1; 4]), Just([3; 4]), prop::array::uniform4(1..5_usize)]
                .prop_flat_map(|new| any::<bool>().prop_map(move |rejected| Happening::Pass { new, rejected })),
            1 => (0..4_usize).prop_map(Happening::Alone),
            1 => Just(Happening::Seal),
            3 => Just(Happening::Join),
            1 => (0..4_usize).prop_map(Happening::End),
        ]
    }

    /// Three or four sequences of other lengths.
    fn sequences(model: &Model) -> Vec<KvCache> {
        let prefilled = |tokens| {
            let mut cache = model.new_cache();
            model.prefill(&prompt(tokens), &mut cache).unwrap();
            cache
        };
        [70, 250, 5, 70].map(prefilled).into()
    }

    /// The logits of a pass over the given tokens of each sequence.
    fn pass(model: &Model, caches: &mut [KvCache], tokens: &[Vec<u32>]) -> Vec<f32> {
        let inputs = caches.iter_mut().zip(tokens).map(|(cache, tokens)| SequenceInput::new(tokens, cache));
        model.logits(inputs.collect()).unwrap()
    }

    fn join(caches: &mut [KvCache]) {
        KvCache::join(&mut caches.iter_mut().collect::<Vec<_>>()).unwrap();
        assert!(KvCache::are_joined(&caches.iter().collect::<Vec<_>>()));
    }

    /// Lets the same happen to sequences that join and to some that never do.
    fn compare(model: &Model, happenings: &[Happening]) -> Result<(), TestCaseError> {
        let (mut joining, mut plain) = (sequences(model), sequences(model));
        for (number, happening) in happenings.iter().enumerate() {
            match happening {
                Happening::Pass { new, rejected } => {
                    let tokens: Vec<Vec<u32>> = (0..joining.len())
                        .map(|at| (0..new[at]).map(|token| (number * 31 + at * 7 + token) as u32 % 250).collect())
                        .collect();
                    let found = pass(model, &mut joining, &tokens);
                    let wanted: Vec<f32> = (plain.iter_mut().zip(&tokens))
                        .flat_map(|(cache, tokens)| pass(model, std::slice::from_mut(cache), std::slice::from_ref(tokens)))
                        .collect();
                    let largest = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    prop_assert!(largest < 1e-4 && found.len() == wanted.len(), "logits differ by {largest}");
                    for (at, cache) in joining.iter_mut().chain(&mut plain).enumerate() {
                        let cut = if *rejected { new[at % tokens.len()] - 1 } else { 0 };
                        cache.cut(cut).unwrap();
                    }
                }
                Happening::Alone(at) => {
                    for caches in [&mut joining, &mut plain] {
                        let at = at % caches.len();
                        pass(model, &mut caches[at..=at], &[vec![number as u32]]);
                    }
                }
                Happening::Seal => joining.iter_mut().chain(&mut plain).for_each(|cache| cache.seal().unwrap()),
                Happening::Join => join(&mut joining),
                Happening::End(at) if joining.len() > 1 => {
                    let at = at % joining.len();
                    joining.remove(at);
                    plain.remove(at);
                }
                Happening::End(_) => {}
            }
        }
        Ok(())
    }

    #[test]
    fn sequences_that_join_compute_what_they_compute_alone() {
        let windows = json!({"model_type": "mistral", "sliding_window": 40});
        for config in [json!({}), windows, hybrid(), gemma4(), glm_lite()] {
            let (_dir, model) = model_with(&config, ComputePath::Gpu);
            let cases = prop::collection::vec(happening(), 1..20);
            same_cases(24).run(&cases, |happenings| compare(&model, &happenings)).unwrap();
        }
    }

    #[test]
    fn a_pass_over_joint_buffers_writes_in_place_until_they_are_full() {
        let (_dir, model) = model_with(&Value::Object(Default::default()), ComputePath::Gpu);
        let mut caches = sequences(&model);
        caches.iter_mut().for_each(|cache| cache.reserve(300));
        join(&mut caches);
        let address = |cache: &KvCache| cache.buffers(0).unwrap().keys.as_slice::<f32>().as_ptr();
        let (before, capacity) = (address(&caches[0]), caches[0].capacity());
        for tokens in [[1; 4], [2; 4], [1, 3, 1, 2]] {
            let tokens = tokens.map(|tokens| vec![9; tokens]);
            pass(&model, &mut caches, &tokens);
            assert!(caches.iter().all(|cache| address(cache) == before));
        }
        // A pass that is built ahead, put aside, and taken up again; then without a member that has ended.
        for ended in [false, true] {
            if ended {
                caches.remove(1);
            }
            let mut aside: Vec<_> = caches.iter().map(KvCache::state).collect();
            let inputs = caches.iter_mut().map(|cache| SequenceInput::new(&[7], cache)).collect();
            let logits = model.lazy_logits(inputs).unwrap();
            caches.iter_mut().zip(&mut aside).for_each(|(cache, state)| cache.exchange(state));
            caches.iter_mut().zip(aside).for_each(|(cache, mut state)| cache.exchange(&mut state));
            wait([&logits]).unwrap();
            assert!(caches.iter().all(|cache| address(cache) == before), "ended: {ended}");
        }
        join(&mut caches);
        while caches[0].capacity() == capacity {
            pass(&model, &mut caches, &[8; 3].map(|tokens| vec![9; tokens]));
        }
        assert!(caches.iter().any(|cache| cache.tokens() > capacity));
        assert!(KvCache::are_joined(&caches.iter().collect::<Vec<_>>()));
    }
}
