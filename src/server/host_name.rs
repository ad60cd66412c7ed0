//! The name of a machine.

use std::str::FromStr;

use axum::http::uri::Authority;

/// A name by which clients call the server, in lower case: `gpu.lan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// The name, without a final dot.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = |reason: &str| format!("{text:?} is not a host name such as gpu.lan: {reason}");
        let authority: Authority = text.parse().map_err(|_| malformed("it has characters that no name has"))?;
        if authority.host() != text {
            return Err(malformed("leave out scheme, user and port"));
        }
        Ok(Self(text.trim_end_matches('.').to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_nothing_but_a_name() {
        for name in ["gpu.lan", "GPU.LAN", "gpu.lan."] {
            assert_eq!(name.parse(), Ok(HostName("gpu.lan".into())));
        }
        let others = ["gpu.lan:8081", "https://gpu.lan", "a@gpu.lan", "gpu lan", ""];
        insta::assert_snapshot!(others.map(|text| text.parse::<HostName>().unwrap_err()).join("\n"), @r#"
        "gpu.lan:8081" is not a host name such as gpu.lan: leave out scheme, user and port
        "https://gpu.lan" is not a host name such as gpu.lan: it has characters that no name has
        "a@gpu.lan" is not a host name such as gpu.lan: leave out scheme, user and port
        "gpu lan" is not a host name such as gpu.lan: it has characters that no name has
        "" is not a host name such as gpu.lan: it has characters that no name has
        "#);
    }
}
