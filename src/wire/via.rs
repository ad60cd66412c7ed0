//! Through which servers a request has come.

/// The servers that a request has come through, as the `via` header of HTTP names them, the last one at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Via(Vec<String>);

impl Via {
    /// Those that these values of the header name.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let servers = values.into_iter().flat_map(|value| value.split(',')).map(str::trim);
        Self(servers.filter(|server| !server.is_empty()).map(str::to_owned).collect())
    }

    /// Whether the server of this name is one of them.
    pub fn has(&self, name: &str) -> bool {
        // The protocol comes first, such as `1.1`, and a comment may come last.
        self.0.iter().any(|server| server.split_whitespace().nth(1) == Some(name))
    }

    /// The same and, after them, the server of this name.
    pub fn and(mut self, name: &str) -> Self {
        self.0.push(format!("1.1 {name}"));
        self
    }

    /// The value of the header; `None` if there is no server.
    pub fn to_header(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_and_added_in_their_order() {
        assert_eq!(Via::of([]).to_header(), None);
        let via = Via::of(["1.0 one, HTTP/1.1 two:80 (a proxy)", "", "2 three"]).and("four");
        assert_eq!(via.to_header().unwrap(), "1.0 one, HTTP/1.1 two:80 (a proxy), 2 three, 1.1 four");
        let names = ["one", "two:80", "three", "four", "1.1", "two", "proxy)"];
        assert_eq!(names.map(|name| via.has(name)), [true, true, true, true, false, false, false]);
    }
}
