//! Names of headers, parameters, fields and variables that hold secrets, judged by their shape in any case and style.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// What replaces a secret.
pub const REDACTED: &str = "[redacted]";

/// What a value must look like to be a secret, going by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// Nothing: the name says it, as `password` or `api_key` does.
    Name,
    /// Like an identifier that no word is. The name is used for other things too, as `token` is.
    Token,
    /// Like no ordinary word. The name says nothing, and that of the object around it says that there are secrets inside.
    NoWord,
    /// Like a number of four digits or more. The name is that of a code: `otp`, `pin`.
    Code,
    /// Like chance. The name is mostly used for other things, as `key` is.
    Chance,
}

impl Evidence {
    /// What the values inside of an object must look like whose name asks for this.
    pub(super) fn inside(self) -> Self {
        match self {
            Self::Name | Self::NoWord => Self::NoWord,
            Self::Token | Self::Code | Self::Chance => Self::Chance,
        }
    }
}

/// Every name of a secret contains one of these; other names need no closer look.
static STEMS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let stems = ["pass", "pwd", "secret", "credential", "key", "token", "auth", "cookie", "sig", "jwt", "bearer", "otp", "pin"];
    // Building fails for gigabytes only; without it, names are just looked at longer.
    AhoCorasick::builder().ascii_case_insensitive(true).build(stems).ok()
});

/// Parts of names whose value is secret.
const SECRET: [&str; 8] = ["password", "passwd", "passphrase", "passcode", "secret", "credential", "authorization", "cookie"];

/// Words beside `key` or `token` that make the name one of a credential.
const OPENS: [&str; 27] = [
    "access",
    "account",
    "admin",
    "api",
    "app",
    "auth",
    "bearer",
    "bot",
    "client",
    "deploy",
    "encryption",
    "functions",
    "license",
    "master",
    "oauth",
    "personal",
    "private",
    "refresh",
    "secret",
    "security",
    "service",
    "session",
    "shared",
    "signing",
    "ssh",
    "storage",
    "subscription",
];

/// Words beside `pass` that make it something else than a password.
const OTHER_PASSES: [&str; 8] = ["first", "second", "last", "single", "multi", "render", "low", "high"];

/// Words beside `token` that make it no credential: tokens of texts, lists and machines.
const OTHER_TOKENS: [&str; 31] = [
    "bos",
    "cancel",
    "cancellation",
    "cls",
    "continuation",
    "continue",
    "current",
    "cursor",
    "end",
    "eos",
    "eot",
    "first",
    "image",
    "last",
    "lookahead",
    "mask",
    "new",
    "next",
    "page",
    "pad",
    "per",
    "prev",
    "previous",
    "sep",
    "special",
    "start",
    "stop",
    "sync",
    "text",
    "unk",
    "word",
];

/// Words beside `key` that make it no credential: keys of maps and tables.
const OTHER_KEYS: [&str; 14] = [
    "cache",
    "foreign",
    "hash",
    "idempotency",
    "issue",
    "map",
    "object",
    "partition",
    "primary",
    "public",
    "query",
    "range",
    "sort",
    "translation",
];

/// Last words of names that only tell something about a secret.
const ABOUT: [&str; 45] = [
    "age",
    "at",
    "attempts",
    "count",
    "date",
    "days",
    "description",
    "endpoint",
    "env",
    "error",
    "expiration",
    "expires",
    "expiry",
    "field",
    "file",
    "help",
    "hint",
    "id",
    "ids",
    "index",
    "iterations",
    "label",
    "length",
    "lifetime",
    "limit",
    "max",
    "message",
    "min",
    "minutes",
    "name",
    "path",
    "placeholder",
    "policy",
    "prompt",
    "retries",
    "rounds",
    "seconds",
    "size",
    "timeout",
    "ttl",
    "type",
    "uri",
    "url",
    "usage",
    "version",
];

/// Further last words of names that are about a secret, where they stand beside it in an object.
const BESIDE: [&str; 26] = [
    "account",
    "alg",
    "algorithm",
    "created",
    "default",
    "domain",
    "email",
    "example",
    "examples",
    "format",
    "host",
    "issued",
    "issuer",
    "kind",
    "location",
    "login",
    "modified",
    "pattern",
    "provider",
    "region",
    "scope",
    "scopes",
    "status",
    "updated",
    "user",
    "username",
];

/// Whether a field of an object that holds a secret only tells something about it.
pub(super) fn is_about_secret(name: &str) -> bool {
    words(name).last().is_some_and(|last| [&ABOUT[..], &BESIDE[..]].concat().contains(&last.as_str()))
}

/// The evidence that the value of a field or variable must give to count as a secret; `None` if no value of it is one.
pub(super) fn evidence_for(name: &str) -> Option<Evidence> {
    if STEMS.as_ref().is_some_and(|stems| !stems.is_match(name)) {
        return None;
    }
    let words = words(name);
    let bare = words.concat();
    let last = words.last()?.as_str();
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    if ABOUT.contains(&last) {
        return None;
    }
    if SECRET.iter().any(|part| bare.contains(part)) || ["pwd", "bearer"].contains(&last) {
        return Some(Evidence::Name);
    }
    if ["otp", "totp", "pin"].contains(&last) {
        return Some(Evidence::Code);
    }
    // `DB_PASS`, `smtpPass`; not a pass over data.
    if last == "pass" && words.len() > 1 && !has(&OTHER_PASSES) {
        return Some(Evidence::Name);
    }
    let opens = |before: &str| OPENS.iter().any(|word| before.ends_with(word));
    if let Some(before) = bare.strip_suffix("token") {
        return match before {
            "" => Some(Evidence::Token),
            _ if has(&OTHER_TOKENS) => None,
            _ => Some(Evidence::Name),
        };
    }
    if let Some(before) = bare.strip_suffix("key") {
        return match before {
            _ if has(&OTHER_KEYS) => None,
            _ if opens(before) => Some(Evidence::Name),
            _ => Some(Evidence::Chance),
        };
    }
    // Several of them, or a word or number behind: `api_keys`, `accessTokens`, `token_value`, `apiKey2`.
    let is_token = |word: &String| {
        let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
        is_auth(word) || ["pass", "sig", "jwt", "token"].contains(&word)
    };
    let many = bare.strip_suffix("tokens").or_else(|| bare.strip_suffix("keys"));
    if has(&OTHER_TOKENS) || has(&OTHER_KEYS) {
        None
    } else if words.iter().any(is_token) || many.is_some_and(opens) {
        Some(Evidence::Token)
    } else {
        let is_key = |word: &String| word.trim_end_matches(|c: char| c.is_ascii_digit()).ends_with("key");
        words.iter().any(is_key).then_some(Evidence::Chance)
    }
}

/// Whether the value of a header is secret. The `token` in the names of rate limits is not a secret one.
pub(super) fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let named = ["key", "token", "secret", "cookie", "authorization", "password", "credential", "signature"];
    (named.iter().any(|part| name.contains(part))
        || words(&name).iter().any(|word| has_auth(word))
        || evidence_for(&name).is_some())
        && !name.contains("ratelimit")
}

/// Whether the value of a query parameter is secret.
pub(super) fn is_secret_parameter(name: &str) -> bool {
    is_secret_header(name) || ["sig", "pwd", "pass", "passwd", "passphrase", "jwt"].contains(&name.to_ascii_lowercase().as_str())
}

/// Whether `auth` is in a word of a header's name, and it is not about authors or about how to authenticate.
fn has_auth(word: &str) -> bool {
    word.contains("auth") && !["authenticate", "authority"].contains(&word) && !is_author(word)
}

/// Whether a word is `auth` or a longer form of it, and not one of `author`.
fn is_auth(word: &str) -> bool {
    word.ends_with("auth") || (word.starts_with("auth") && !["authenticate", "authority"].contains(&word) && !is_author(word))
}

fn is_author(word: &str) -> bool {
    word.starts_with("author") && !word.starts_with("authoriz")
}

/// The words of a name in lower case: `dbPassword`, `DB_PASSWORD` and `db-password` have the same.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = b'-';
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() {
            let starts = !before.is_ascii_alphanumeric() || (byte.is_ascii_uppercase() && before.is_ascii_lowercase());
            match words.last_mut() {
                Some(word) if !starts => word.push(char::from(byte.to_ascii_lowercase())),
                _ => words.push(char::from(byte.to_ascii_lowercase()).to_string()),
            }
        }
        before = byte;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_by_their_shape_in_any_style() {
        let by_name = "password dbPassword DB_PASSWORD db-passwd db.password passwords passwordHash PGPWD_PWD passphrase
            api_key apiKey APIKEY x-api-key X-Api-Key provider.api.key AccountKey aws_secret_access_key ssh-key privateKey
            authorization Authorization authorization_token authorizationToken proxyAuthorization Proxy-Authorization
            clientSecret client.secret SECRET secrets credentials github_token mcpAuthToken access.token ACCESS_TOKEN refreshToken
            bearer Bearer my_bearer cookie Cookies Set-Cookie set_cookie cookieJar";
        let like_a_token = "token Token sig x-foo-auth auth jwt token_value tokenString bearer_token_2 accessTokens api_keys
            session-tokens oauth2 tokens_for_auth";
        let like_a_code = "otp OTP totp smsOtp pin PIN card_pin";
        let like_chance = "key datadogKey key2 key_material apiKeyValue";
        let none =
            "max_tokens input_tokens output_tokens maxTokens cache_creation_input_tokens cache_read_input_tokens budget_tokens
            total_tokens tokens token_count tokenCount token_type token_ids num_tokens tokens_per_second next_page_token pad_token
            eosToken cancelToken cache_key cacheKey cache-key keys keyword keyboard publicKey public_key_pem primary_key
            primaryKeyName partitionKey sortKey idempotency_key key_id keyId access_key_id hotkeys
            password_field passwordLength secret_name cookie_policy authorization_url author authored_by authority tokenizer
            bearer_format bearerType forbearer signature design assigned content compass passed bypass text_tokens pinned spin mapping pin_count adopt";
        for (evidence, names) in [
            (Some(Evidence::Name), by_name),
            (Some(Evidence::Token), like_a_token),
            (Some(Evidence::Code), like_a_code),
            (Some(Evidence::Chance), like_chance),
            (None, none),
        ] {
            for name in names.split_whitespace() {
                assert_eq!(evidence_for(name), evidence, "{name}");
            }
        }
    }

    #[test]
    fn headers_with_auth_in_their_names_are_secret() {
        for name in ["x-foo-auth", "X-Auth-Id", "x-oauth-basic", "authentication", "x-corpauthcode", "x-authz"] {
            assert!(is_secret_header(name), "{name}");
        }
        for name in ["www-authenticate", "x-author", "content-type", "anthropic-ratelimit-tokens-limit"] {
            assert!(!is_secret_header(name), "{name}");
        }
    }
}
