//! Paths in JSON. What of a path is no UTF-8 becomes U+FFFD, as wherever a path is printed: JSON has no place for it, and one
//! such file must not keep all others from being shown.

use std::path::Path;

use serde::Serializer;

/// Serializes a path.
pub(crate) fn path<S: Serializer>(path: impl AsRef<Path>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.as_ref().to_string_lossy())
}

/// Serializes a path, if there is one.
pub(crate) fn path_if_any<S: Serializer>(path: &Option<impl AsRef<Path>>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => serializer.serialize_some(&path.as_ref().to_string_lossy()),
        None => serializer.serialize_none(),
    }
}

/// Serializes paths.
pub(crate) fn paths<S: Serializer>(paths: &[impl AsRef<Path>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.as_ref().to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::path::PathBuf;

    use serde::Serialize;
    use serde_json::json;

    #[derive(Serialize)]
    struct Paths {
        #[serde(serialize_with = "super::path")]
        one: PathBuf,
        #[serde(serialize_with = "super::path_if_any")]
        some: Option<PathBuf>,
        #[serde(serialize_with = "super::path_if_any")]
        none: Option<PathBuf>,
        #[serde(serialize_with = "super::paths")]
        list: Vec<PathBuf>,
    }

    #[test]
    fn a_path_that_is_no_text_is_shown_with_a_mark_in_its_place() {
        let path = PathBuf::from(OsStr::from_bytes(b"caf\xe9/0001.json"));
        let shown = "caf\u{fffd}/0001.json";
        let paths = Paths { one: path.clone(), some: Some(path.clone()), none: None, list: vec![path] };
        assert_eq!(serde_json::to_value(paths).unwrap(), json!({"one": shown, "some": shown, "none": null, "list": [shown]}));
    }
}
