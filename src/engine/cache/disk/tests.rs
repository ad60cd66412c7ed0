//! A cache folder that is opened several times, by its model and by others.

use mlx_rs::Array;

use super::*;
use crate::engine::testing;

/// A cache folder and the model folder it belongs to.
struct TestFolder {
    model: tempfile::TempDir,
    folder: tempfile::TempDir,
}

impl TestFolder {
    fn new() -> Self {
        let test = Self { model: tempfile::tempdir().unwrap(), folder: tempfile::tempdir().unwrap() };
        testing::write_model(test.model.path());
        test
    }

    fn try_open(&self, bytes: u64) -> Option<DiskCache> {
        DiskCache::open(DiskOptions { folder: self.folder.path().into(), bytes }, self.model.path(), ComputePath::Cpu).unwrap()
    }

    fn open(&self) -> DiskCache {
        self.try_open(u64::MAX).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let paths = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|it| it == "safetensors")).collect();
        paths.sort();
        paths
    }
}

/// Keeps these tokens in segments of `length` tokens.
fn keep(disk: &mut DiskCache, tokens: &[u32], length: usize) {
    let segments: Vec<_> = tokens.chunks(length).map(|own| Segment { tokens: own.len(), payload: testing::kv_of(own) }).collect();
    disk.keep(tokens, &segments).unwrap();
}

/// How many tokens come back, in how many segments.
fn recalled(disk: &mut DiskCache, tokens: &[u32], known: usize) -> (usize, usize) {
    let Some(Recalled { tokens: all, start, segments }) = disk.recall(tokens, known) else { return (0, 0) };
    let mut at = start;
    for Segment { tokens, payload } in &segments {
        assert_eq!(payload.bytes(), testing::kv(*tokens).bytes());
        assert_eq!(testing::first_keys(payload), all[at..at + tokens].iter().map(|token| *token as f32).collect::<Vec<_>>());
        at += tokens;
    }
    assert_eq!(at, all.len());
    (all.len(), segments.len())
}

#[test]
fn what_was_kept_is_there_after_a_restart_and_only_what_is_needed_is_read() {
    let test = TestFolder::new();
    keep(&mut test.open(), &[1, 2, 3, 4, 5], 2);
    let mut disk = test.open();
    assert_eq!((disk.stats().entries, disk.stats().bytes > 0, disk.stats().dropped), (3, true, 0));
    assert_eq!(recalled(&mut disk, &[1, 2, 3, 4, 5, 6], 0), (5, 3));
    assert_eq!(recalled(&mut disk, &[1, 2, 3, 4, 5, 6], 3), (5, 2));
    assert_eq!(recalled(&mut disk, &[1, 2, 3, 9], 0), (4, 2));
    assert_eq!(recalled(&mut disk, &[1, 2, 3, 9], 3), (0, 0));
    assert_eq!(disk.stats().tokens, 5 + 2 + 3);
    // A branch, and a continuation of it in segments of another length.
    keep(&mut disk, &[1, 2, 3, 9, 9], 1);
    keep(&mut disk, &[1, 2, 3, 9, 9, 8, 8], 4);
    drop(disk);
    assert_eq!(recalled(&mut test.open(), &[1, 2, 3, 9, 9, 8, 8], 0).0, 7);
}

#[test]
fn damage_anywhere_costs_the_damaged_segment_and_those_that_continue_it() {
    let test = TestFolder::new();
    keep(&mut test.open(), &[1, 2, 3, 4, 5, 6], 2);
    for damage in [|bytes: &mut Vec<u8>| bytes[20] ^= 1, |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1, Vec::clear] {
        keep(&mut test.open(), &[1, 2, 3, 4, 5, 6], 2);
        let files = test.files();
        assert_eq!(files.len(), 3);
        for path in &files {
            let whole = fs::read(path).unwrap();
            let mut bytes = whole.clone();
            damage(&mut bytes);
            fs::write(path, bytes).unwrap();
            let mut disk = test.open();
            assert!(recalled(&mut disk, &[1, 2, 3, 4, 5, 6], 0).0 < 6);
            assert!(disk.stats().dropped > 0);
            keep(&mut disk, &[1, 2, 3, 4, 5, 6], 2);
        }
    }
    assert_eq!(recalled(&mut test.open(), &[1, 2, 3, 4, 5, 6], 0), (6, 3));
}

#[test]
fn another_models_segments_are_dropped_and_nothing_else_in_the_folder() {
    let test = TestFolder::new();
    keep(&mut test.open(), &[1, 2, 3], 2);
    let others = ["notes.txt", "model.safetensors", "half.tmp"].map(|name| test.folder.path().join(name));
    others.iter().for_each(|path| fs::write(path, "mine").unwrap());
    let unfinished = test.folder.path().join(".anyclaude-a1b2c3.tmp");
    fs::write(&unfinished, "half").unwrap();
    let config = test.model.path().join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("10000.0", "20000.0")).unwrap();
    let mut disk = test.open();
    assert_eq!((recalled(&mut disk, &[1, 2, 3], 0), disk.stats().dropped, disk.stats().entries), ((0, 0), 2, 0));
    assert!(others.iter().all(|path| path.exists()) && !unfinished.exists());
}

#[test]
fn one_process_at_a_time_uses_a_folder() {
    let test = TestFolder::new();
    let disk = test.open();
    assert!(test.try_open(u64::MAX).is_none());
    drop(disk);
    assert!(test.try_open(u64::MAX).is_some());
}

#[test]
fn the_folder_keeps_its_limit_and_what_was_used_last() {
    let test = TestFolder::new();
    let mut disk = test.open();
    keep(&mut disk, &[1, 2, 3, 4], 2);
    keep(&mut disk, &[5, 6], 2);
    keep(&mut disk, &[1, 2, 3, 4], 2);
    let bytes = disk.stats().bytes;
    drop(disk);
    let mut disk = test.try_open(bytes - 1).unwrap();
    assert_eq!((recalled(&mut disk, &[5, 6], 0).0, recalled(&mut disk, &[1, 2, 3, 4], 0).0), (0, 4));
    disk.clear();
    drop(disk);
    assert_eq!((test.files().len(), test.open().stats().entries), (0, 0));
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let test = TestFolder::new();
    let folder = test.model.path().join("config.json/x");
    let options = DiskOptions { folder: folder.clone(), bytes: 1 };
    let error = DiskCache::open(options, test.model.path(), ComputePath::Cpu).err().expect("a file is no folder").to_string();
    assert!(error.starts_with(&format!("{}: ", folder.display())), "{error}");
}

#[test]
fn a_file_whose_checksum_is_right_and_whose_shapes_are_not_is_dropped() {
    use mlx_rs::ops::zeros;
    let names = ["layer.0.keys", "layer.0.values", "layer.1.keys", "layer.1.values"];
    let of_tokens = |tokens: i32| names.map(|name| (name.to_string(), zeros::<f32>(&[1, 2, tokens, 16]).unwrap())).to_vec();
    let whole = || of_tokens(3);
    let with = |index: usize, array: Array| {
        let mut changed = whole();
        changed[index].1 = array;
        changed
    };
    let extra = || [whole(), vec![("layer.2.keys".into(), zeros::<f32>(&[1, 2, 3, 16]).unwrap())]].concat();
    let files = [
        (whole(), true),
        (with(3, zeros::<f32>(&[1, 2, 2, 16]).unwrap()), false), // values of fewer tokens than keys
        (with(0, zeros::<f32>(&[1, 2, 4, 16]).unwrap()), false),
        (with(1, zeros::<f32>(&[1, 1, 3, 16]).unwrap()), false), // another number of heads
        (with(2, zeros::<f32>(&[1, 2, 3, 8]).unwrap()), false),
        (with(0, zeros::<f32>(&[2, 3, 16]).unwrap()), false),
        (with(0, zeros::<i32>(&[1, 2, 3, 16]).unwrap()), false),
        (of_tokens(4), false),          // all alike, and not of the header's three tokens
        (whole()[..2].to_vec(), false), // a layer is missing
        (vec![], false),
        (extra(), false),
    ];
    for (index, (tensors, good)) in files.into_iter().enumerate() {
        let test = TestFolder::new();
        let root = Manifest::of(test.model.path(), ComputePath::Cpu).unwrap().root();
        let header = SegmentHeader { parent: root, tokens: vec![1, 2, 3], checkpoint: false };
        let (name, bytes) = header.encode_tensors(&tensors).unwrap();
        drop(test.open());
        fs::write(test.folder.path().join(name.to_string()), bytes).unwrap();
        let mut disk = test.open();
        let found = disk.recall(&[1, 2, 3, 4], 0).is_some();
        assert_eq!((found, disk.stats().dropped), (good, u64::from(!good)), "file {index}");
    }
}
