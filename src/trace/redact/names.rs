//! Names of headers, parameters and fields that hold secrets.

/// What replaces a secret.
pub const REDACTED: &str = "[redacted]";

/// Whether a header or query parameter has a name like `x-api-key`, `authorization` or `cookie`. The `token` in the names of rate
/// limits is not a secret one.
pub(super) fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let named = ["key", "token", "secret", "cookie", "authorization", "password", "credential", "signature"];
    named.iter().any(|part| name.contains(part)) && !name.contains("ratelimit")
}

/// Body fields whose values are secret, in the form of [`bare_name`].
pub(super) const SECRET_FIELDS: [&str; 20] = [
    "accesskey",
    "accesstoken",
    "apikey",
    "apitoken",
    "authorization",
    "authtoken",
    "bearertoken",
    "clientsecret",
    "cookie",
    "idtoken",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "proxyauthorization",
    "refreshtoken",
    "secret",
    "secretkey",
    "setcookie",
    "xapikey",
];

/// Whether the value of a body field with this name is secret.
pub(super) fn is_secret_field(name: &str) -> bool {
    SECRET_FIELDS.contains(&bare_name(name).as_str())
}

/// A name in lower case, without `_` and `-`.
pub(super) fn bare_name(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect()
}
