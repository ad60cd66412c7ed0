//! A segment as a file: its keys and values in the safetensors format, its tokens in the metadata.
//!
//! A segment's id is a digest of the model and of all tokens up to the segment's end, so that only a prompt with the same
//! beginning can find it. The file's name holds the id and a checksum of all bytes.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use mlx_rs::Array;
use safetensors::SafeTensors;
use safetensors::tensor::{TensorView, serialize};
use sha2::{Digest, Sha256};

use crate::engine::model::{KvSegment, KvShape};
use crate::tensor_file::TensorFile;

/// The metadata entry that holds [`SegmentHeader`], as `<parent's id>:<tokens>` with commas: `…:1,2,3`, and `:checkpoint` after
/// it if there is one. Its name is that of the first version of the format.
const HEADER_ENTRY: &str = "run";

/// See [`HEADER_ENTRY`].
const CHECKPOINT: &str = ":checkpoint";

/// A digest of the model and of all tokens up to a segment's end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct SegmentId([u8; 16]);

impl SegmentId {
    /// The beginning of every prompt of a model, which `identity` describes.
    pub(super) fn root(identity: &str) -> Self {
        Self::of(Sha256::new().chain_update(identity))
    }

    /// The segment of `tokens` that continues this one.
    pub(super) fn child(self, tokens: &[u32]) -> Self {
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

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl FromStr for SegmentId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = u128::from_str_radix(text, 16).map_err(drop)?;
        let id = Self(number.to_be_bytes());
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

/// The name of a segment file: `<id>-<checksum>.safetensors`, both in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileName {
    pub id: SegmentId,
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

/// What a file says about its segment: its tokens, the segment that it continues, and whether it has a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SegmentHeader {
    pub parent: SegmentId,
    pub tokens: Vec<u32>,
    /// Whether the file has the states of recurrent layers after the last token.
    pub checkpoint: bool,
}

impl SegmentHeader {
    /// The segment's id.
    pub(super) fn id(&self) -> SegmentId {
        self.parent.child(&self.tokens)
    }

    /// The name and the content of the segment's file.
    pub(super) fn encode(&self, kv: &KvSegment) -> Result<(FileName, Vec<u8>), String> {
        self.encode_tensors(&kv.tensors().map_err(|error| error.what().to_owned())?)
    }

    /// See [`SegmentHeader::encode`]. Does not check that the tensors are keys and values.
    pub(super) fn encode_tensors(&self, tensors: &[(String, Array)]) -> Result<(FileName, Vec<u8>), String> {
        let views = tensors.iter().map(|(name, array)| Ok((name, TensorView::try_from(array)?)));
        let views = views.collect::<Result<Vec<_>, mlx_rs::error::ConversionError>>().map_err(|error| error.to_string())?;
        let tokens = self.tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        // A single entry: with several, the map's random order would give the same segment different bytes.
        let checkpoint = if self.checkpoint { CHECKPOINT } else { "" };
        let metadata = HashMap::from([(HEADER_ENTRY.to_owned(), format!("{}:{tokens}{checkpoint}", self.parent))]);
        let bytes = serialize(views, Some(metadata)).map_err(|error| error.to_string())?;
        Ok((FileName { id: self.id(), checksum: crc32fast::hash(&bytes) }, bytes))
    }
}

/// The keys and values in the content of a file, which holds `tokens` tokens. An error says how the file is damaged.
pub(super) fn decode(name: FileName, bytes: &[u8], shape: &KvShape, tokens: usize) -> Result<KvSegment, String> {
    if crc32fast::hash(bytes) != name.checksum {
        return Err("its checksum is wrong".into());
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut arrays = HashMap::new();
    for (tensor, view) in file.iter() {
        arrays.insert(tensor.to_owned(), Array::try_from(view).map_err(|error| error.to_string())?);
    }
    KvSegment::from_tensors(arrays, shape, tokens)
}

/// Reads only a file's header: which segment it holds. `None` if that is damaged or the file is cut.
pub(super) fn read_header(path: &Path) -> Option<SegmentHeader> {
    let file = TensorFile::open(path).ok()?;
    let (parent, rest) = file.metadata.get(HEADER_ENTRY)?.split_once(':')?;
    let (tokens, checkpoint) = rest.strip_suffix(CHECKPOINT).map_or((rest, false), |tokens| (tokens, true));
    let tokens = tokens.split(',').map(|token| token.parse().ok()).collect::<Option<_>>()?;
    Some(SegmentHeader { parent: parent.parse().ok()?, tokens, checkpoint })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::damaged;
    use crate::engine::segment::Payload;
    use crate::engine::testing;
    use proptest::prelude::*;

    fn encoded(tokens: &[u32]) -> (SegmentHeader, FileName, Vec<u8>) {
        let header = SegmentHeader { parent: SegmentId::root("m"), tokens: tokens.to_vec(), checkpoint: false };
        let (name, bytes) = header.encode(&testing::kv(tokens.len())).unwrap();
        (header, name, bytes)
    }

    #[test]
    fn a_segment_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let (header, name, bytes) = encoded(&[3, 1, 4096]);
        let path = dir.path().join(name.to_string());
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!((read_header(&path).unwrap(), name.to_string().parse()), (header.clone(), Ok(name)));
        let again = decode(name, &bytes, &testing::kv_shape(), 3).unwrap();
        assert_eq!((header.encode(&again).unwrap(), again.bytes()), ((name, bytes), testing::kv(3).bytes()));
        // It is an ordinary safetensors file: MLX reads it too.
        let tensors = Array::load_safetensors(&path).unwrap();
        assert_eq!(tensors["layer.0.keys"].dim(2), 3);
    }

    #[test]
    fn ids_stand_for_all_tokens_so_far_and_the_model() {
        let root = SegmentId::root("m");
        let ids = [
            root,
            SegmentId::root("n"),
            root.child(&[1, 2]),
            root.child(&[1]).child(&[2]),
            root.child(&[2, 1]),
            SegmentId::root("n").child(&[1, 2]),
        ];
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), ids.len());
        for text in
            ["", "x", "model.safetensors", "0-0.safetensors", &format!("{root}.safetensors"), &format!("{root}-0.safetensors")]
        {
            assert_eq!(text.parse::<FileName>(), Err(()), "{text}");
        }
    }

    #[test]
    fn a_damaged_file_is_no_segment_and_its_header_is_that_of_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (header, name, bytes) = encoded(&[3, 1, 4096]);
        let path = dir.path().join(name.to_string());
        for variant in damaged(&bytes).into_iter().filter(|variant| *variant != bytes) {
            std::fs::write(&path, &variant).unwrap();
            assert!(decode(name, &variant, &testing::kv_shape(), 3).is_err());
            if let Some(read) = read_header(&path) {
                assert_eq!(read.id() == header.id(), read.parent == header.parent && read.tokens == header.tokens);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_damage_is_found(at in any::<prop::sample::Index>(), flip in 1u8..=255, cut in any::<bool>()) {
            let (_, name, mut bytes) = encoded(&[1, 2, 3]);
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
            prop_assert!(decode(name, &bytes, &testing::kv_shape(), 3).is_err());
        }
    }
}
