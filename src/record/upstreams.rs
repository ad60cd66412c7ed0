//! The upstreams of a recorder: which one a request's path leads to.

use std::fmt;

use super::error::RecordError;
use super::upstream::Upstream;
use crate::trace::redact::Redactor;

/// Upstreams, each behind the beginning of the paths that lead to it.
#[derive(Clone, Debug)]
pub struct Upstreams {
    /// The longest prefix first.
    routes: Vec<UpstreamRoute>,
}

/// An upstream, and the paths that lead to it.
#[derive(Clone, Debug)]
pub struct UpstreamRoute {
    /// How those paths begin, such as `/openrouter`; empty for all that no other prefix has. It is not forwarded.
    pub prefix: String,
    /// Where they are forwarded to.
    pub upstream: Upstream,
}

impl From<Upstream> for Upstreams {
    /// One upstream for all paths.
    fn from(upstream: Upstream) -> Self {
        Self { routes: vec![UpstreamRoute { prefix: String::new(), upstream }] }
    }
}

impl Upstreams {
    /// Parses upstreams, each a base URL or a prefix and one: `/openrouter=https://openrouter.ai/api`.
    ///
    /// # Errors
    /// One is malformed, or two have the same prefix.
    pub fn parse(given: &[String]) -> Result<Self, RecordError> {
        let mut routes: Vec<UpstreamRoute> = Vec::new();
        for text in given {
            let route = UpstreamRoute::parse(text)?;
            if let Some(other) = routes.iter().find(|other| other.prefix == route.prefix) {
                return Err(RecordError::SamePrefix { first: other.to_string(), second: route.to_string() });
            }
            routes.push(route);
        }
        routes.sort_by_key(|route| std::cmp::Reverse(route.prefix.len()));
        Ok(Self { routes })
    }

    /// All of them, the longest prefix first.
    pub fn routes(&self) -> &[UpstreamRoute] {
        &self.routes
    }

    /// The upstream for paths without a prefix, if there is one.
    pub fn without_prefix(&self) -> Option<&Upstream> {
        self.routes.iter().find(|route| route.prefix.is_empty()).map(|route| &route.upstream)
    }

    /// Trusts these authorities too.
    pub fn trusting(self, authorities: &[reqwest::Certificate]) -> Self {
        let trusting = |route: UpstreamRoute| UpstreamRoute { upstream: route.upstream.trusting(authorities.to_vec()), ..route };
        Self { routes: self.routes.into_iter().map(trusting).collect() }
    }
}

impl UpstreamRoute {
    fn parse(text: &str) -> Result<Self, RecordError> {
        if !text.starts_with('/') {
            return Ok(Self { prefix: String::new(), upstream: Upstream::parse(text)? });
        }
        let refuse = |reason: &str| RecordError::Upstream {
            given: Redactor::installed().text(text).into_owned(),
            reason: reason.to_owned(),
        };
        let (prefix, base) = text.split_once('=').ok_or_else(|| refuse("a prefix needs a base URL behind it"))?;
        let parts = prefix[1..].trim_end_matches('/').split('/');
        let is_part = |part: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
            !matches!(part, "" | "." | "..") && part.chars().all(allowed)
        };
        if !parts.clone().all(is_part) {
            return Err(refuse("a prefix is a path like /openrouter, of letters, digits, '-', '_', '.' and '~'"));
        }
        if parts.clone().next() == Some("v1") {
            return Err(refuse("a prefix cannot begin with /v1, which is how the clients' own paths begin"));
        }
        let prefix = parts.map(|part| format!("/{part}")).collect();
        Ok(Self { prefix, upstream: Upstream::parse(base)? })
    }

    /// A request's path and query without the prefix; `None` if it has another.
    pub(super) fn forwarded(&self, path_and_query: &str) -> Option<String> {
        if self.prefix.is_empty() {
            return Some(path_and_query.to_owned());
        }
        // Some base URLs end with a slash, so a path may begin with two.
        let path = path_and_query.trim_start_matches('/');
        match path.strip_prefix(&self.prefix[1..])? {
            rest if rest.starts_with('/') => Some(rest.to_owned()),
            rest if rest.is_empty() || rest.starts_with('?') => Some(format!("/{rest}")),
            _ => None,
        }
    }
}

impl fmt::Display for UpstreamRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix.as_str() {
            "" => write!(f, "{}", self.upstream),
            prefix => write!(f, "{prefix}={}", self.upstream),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[&str]) -> Result<Upstreams, RecordError> {
        Upstreams::parse(&given.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_longest_prefix_wins_and_is_not_forwarded() {
        let upstreams = parse(&["/a=http://a", "http://rest", "/a/b/=http://ab"]).unwrap();
        let goes = |path: &str| {
            let found = upstreams.routes().iter().find_map(|route| Some((route, route.forwarded(path)?)));
            found.map(|(route, path)| format!("{} {path}", route.upstream)).unwrap()
        };
        for (path, expected) in [
            ("/a/v1/messages?beta=true", "http://a /v1/messages?beta=true"),
            ("/a/b/v1/models", "http://ab /v1/models"),
            ("//a/v1/models", "http://a /v1/models"),
            ("/a", "http://a /"),
            ("/a?x", "http://a /?x"),
            ("/ab/v1/models", "http://rest /ab/v1/models"),
            ("//v1/messages", "http://rest //v1/messages"),
            ("/v1/a/b", "http://rest /v1/a/b"),
        ] {
            assert_eq!(goes(path), expected);
        }
        assert!(parse(&["/a=http://a"]).unwrap().without_prefix().is_none());
    }

    #[test]
    fn what_is_no_route_or_one_twice_is_refused() {
        let cases: [&[&str]; 8] = [
            &["/a"],
            &["/=http://a"],
            &["/a//b=http://a"],
            &["/a/../b=http://a"],
            &["/a?b=http://a"],
            &["/v1=http://a"],
            &["/a=ftp://a"],
            &["/a=http://me:pw@one", "/a/=http://two"],
        ];
        let refused = cases.map(|given| parse(given).unwrap_err().to_string());
        insta::assert_snapshot!(refused.join("\n"), @r"
        /a: a prefix needs a base URL behind it; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
        /=http://a: a prefix is a path like /openrouter, of letters, digits, '-', '_', '.' and '~'; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
        /a//b=http://a: a prefix is a path like /openrouter, of letters, digits, '-', '_', '.' and '~'; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
        /a/../b=http://a: a prefix is a path like /openrouter, of letters, digits, '-', '_', '.' and '~'; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
        /a?b=http://a: a prefix is a path like /openrouter, of letters, digits, '-', '_', '.' and '~'; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
        /v1=http://a: a prefix cannot begin with /v1, which is how the clients' own paths begin; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
        ftp://a: it must begin with http:// or https://; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
        /a=http://one and /a=http://two have the same prefix; give each upstream one of its own
        ");
        let twice = parse(&["http://a", "http://b"]).unwrap_err().to_string();
        insta::assert_snapshot!(twice, @"http://a and http://b have the same prefix; give each upstream one of its own");
    }
}
