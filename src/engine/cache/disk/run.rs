//! A run of tokens as a file: safetensors, with what the keys and values belong to in its metadata.
//!
//! A run's id stands for the model and for all tokens up to its end, so a file can only be found by the prompt that it is
//! for. The file's name also holds a checksum of all its bytes.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use mlx_rs::Array;
use safetensors::SafeTensors;
use safetensors::tensor::{Metadata, TensorView, serialize};
use sha2::{Digest, Sha256};

use crate::engine::model::KvSegment;

/// The largest header that is read, in bytes: far more than one with some thousand tokens and a hundred layers.
const HEADER_LIMIT: u64 = 16 * 1024 * 1024;

/// Under this name a file's metadata has the parent's id and the tokens: `<id>:1,2,3`.
const RUN: &str = "run";

/// The model and all tokens up to the end of a run, as a digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RunId([u8; 16]);

impl RunId {
    /// Where every prompt of a model begins; the text says which model.
    pub fn root(identity: &str) -> Self {
        Self::of(Sha256::new().chain_update(identity))
    }

    /// The run of these tokens after this one.
    pub fn child(self, tokens: &[u32]) -> Self {
        let mut digest = Sha256::new().chain_update(self.0);
        tokens.iter().for_each(|token| digest.update(token.to_le_bytes()));
        Self::of(digest)
    }

    fn of(digest: Sha256) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&digest.finalize()[..16]);
        Self(id)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl FromStr for RunId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = u128::from_str_radix(text, 16).map_err(drop)?;
        let id = Self(number.to_be_bytes());
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

/// What a file is called: `<id>-<checksum>.safetensors`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileName {
    pub id: RunId,
    /// CRC-32 of the whole file.
    pub checksum: u32,
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}-{:08x}.safetensors", self.id, self.checksum)
    }
}

impl FromStr for FileName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (id, checksum) = text.strip_suffix(".safetensors").and_then(|stem| stem.split_once('-')).ok_or(())?;
        let name = Self { id: id.parse()?, checksum: u32::from_str_radix(checksum, 16).map_err(drop)? };
        if name.to_string() == text { Ok(name) } else { Err(()) }
    }
}

/// A run of tokens, and the run that it continues.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    pub parent: RunId,
    pub tokens: Vec<u32>,
}

impl Run {
    /// Its id.
    pub fn id(&self) -> RunId {
        self.parent.child(&self.tokens)
    }

    /// The file's content, and its name.
    pub fn encode(&self, kv: &KvSegment) -> Result<(FileName, Vec<u8>), String> {
        let tensors = kv.tensors().map_err(|error| error.what().to_owned())?;
        let views = tensors.iter().map(|(name, array)| Ok((name, TensorView::try_from(array)?)));
        let views = views.collect::<Result<Vec<_>, mlx_rs::error::ConversionError>>().map_err(|error| error.to_string())?;
        let tokens = self.tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        // One entry, so that the same run always gives the same bytes.
        let metadata = HashMap::from([(RUN.to_owned(), format!("{}:{tokens}", self.parent))]);
        let bytes = serialize(views, Some(metadata)).map_err(|error| error.to_string())?;
        Ok((FileName { id: self.id(), checksum: crc32fast::hash(&bytes) }, bytes))
    }
}

/// The keys and values in a file's content. An error is damage.
pub fn decode(name: FileName, bytes: &[u8]) -> Result<KvSegment, String> {
    if crc32fast::hash(bytes) != name.checksum {
        return Err("its checksum is wrong".into());
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut arrays = HashMap::new();
    for (tensor, view) in file.iter() {
        arrays.insert(tensor.to_owned(), Array::try_from(view).map_err(|error| error.to_string())?);
    }
    KvSegment::from_tensors(arrays).ok_or_else(|| "it lacks a layer".into())
}

/// The run that a file is of, from the file's beginning.
pub fn read_run(path: &Path) -> io::Result<Run> {
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
    let mut file = File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > HEADER_LIMIT {
        return Err(invalid("no safetensors file"));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header)?;
    let metadata: Metadata = serde_json::from_slice(&header)?;
    let run = || {
        let (parent, tokens) = metadata.metadata().as_ref()?.get(RUN)?.split_once(':')?;
        let tokens = tokens.split(',').map(|token| token.parse().ok()).collect::<Option<_>>()?;
        Some(Run { parent: parent.parse().ok()?, tokens })
    };
    run().ok_or_else(|| invalid("it does not say what it is of"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cache::Payload;
    use crate::engine::testing;
    use proptest::prelude::*;

    fn encoded(tokens: &[u32]) -> (Run, FileName, Vec<u8>) {
        let run = Run { parent: RunId::root("m"), tokens: tokens.to_vec() };
        let (name, bytes) = run.encode(&testing::kv(tokens.len())).unwrap();
        (run, name, bytes)
    }

    #[test]
    fn a_run_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let (run, name, bytes) = encoded(&[3, 1, 4096]);
        let path = dir.path().join(name.to_string());
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!((read_run(&path).unwrap(), name.to_string().parse()), (run.clone(), Ok(name)));
        let again = decode(name, &bytes).unwrap();
        assert_eq!((run.encode(&again).unwrap(), again.bytes()), ((name, bytes), testing::kv(3).bytes()));
        // Other programs can read it.
        let tensors = Array::load_safetensors(&path).unwrap();
        assert_eq!(tensors["layer.0.keys"].dim(2), 3);
    }

    #[test]
    fn ids_stand_for_all_tokens_so_far_and_the_model() {
        let root = RunId::root("m");
        let ids = [
            root,
            RunId::root("n"),
            root.child(&[1, 2]),
            root.child(&[1]).child(&[2]),
            root.child(&[2, 1]),
            RunId::root("n").child(&[1, 2]),
        ];
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), ids.len());
        for text in
            ["", "x", "model.safetensors", "0-0.safetensors", &format!("{root}.safetensors"), &format!("{root}-0.safetensors")]
        {
            assert_eq!(text.parse::<FileName>(), Err(()), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_damage_is_found(at in any::<prop::sample::Index>(), flip in 1u8..=255, cut in any::<bool>()) {
            let (_, name, mut bytes) = encoded(&[1, 2, 3]);
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
            prop_assert!(decode(name, &bytes).is_err());
        }
    }
}
