//! The origin of a web page.

use std::str::FromStr;

use axum::http::HeaderValue;
use reqwest::Url;

/// Whose page it is, as browsers write it: `https://app.example`, `http://localhost:3000`, `vscode-webview://…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageOrigin(String);

impl FromStr for PageOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = |reason: &str| format!("{text:?} is not an origin such as https://app.example: {reason}");
        let url = Url::parse(text).map_err(|error| malformed(&error.to_string()))?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err(malformed("only scheme, host and port belong to it"));
        }
        if !url.has_host() {
            return Err(malformed("it has no host"));
        }
        // Of schemes that no standard names, the address itself is what browsers send.
        let origin = url.origin();
        let text = if origin.is_tuple() { origin.ascii_serialization() } else { text.trim_end_matches('/').to_owned() };
        // Cannot fail: an address has no control characters left.
        HeaderValue::from_str(&text).map(|_| Self(text)).map_err(|error| error.to_string())
    }
}

impl PageOrigin {
    /// As the `Origin` header has it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (text, origin) in [
            ("https://app.example:443/", "https://app.example"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("vscode-webview://1ab", "vscode-webview://1ab"),
        ] {
            assert_eq!(text.parse(), Ok(PageOrigin(origin.into())));
        }
        let others = ["*", "app.example", "https://app.example/page", "https://a@app.example", "data:text", ""];
        insta::assert_snapshot!(others.map(|text| text.parse::<PageOrigin>().unwrap_err()).join("\n"), @r#"
        "*" is not an origin such as https://app.example: relative URL without a base
        "app.example" is not an origin such as https://app.example: relative URL without a base
        "https://app.example/page" is not an origin such as https://app.example: only scheme, host and port belong to it
        "https://a@app.example" is not an origin such as https://app.example: only scheme, host and port belong to it
        "data:text" is not an origin such as https://app.example: only scheme, host and port belong to it
        "" is not an origin such as https://app.example: relative URL without a base
        "#);
    }
}
