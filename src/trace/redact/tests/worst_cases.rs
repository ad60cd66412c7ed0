//! What makes redaction slowest. The benchmark uses it too.

/// What makes the detectors work hardest that do not go by rules: beginnings of secrets.
pub(crate) const OTHERS: [&str; 22] = [
    "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----\n-----END ",
    "://a:",
    "\"password\":\"",
    "password=",
    "\\\"token\\\":\\\"",
    "a=",
    "\\",
    "\\u0026",
    "zq7-zq7-",
    "\"",
    "authorization: x ",
    "cookie: a;",
    "password ",
    "-u a:b ",
    "name: password\nvalue: ",
    "\"password\": [\"a\", ",
    "\"password\": {\"a\": ",
    "form-data; name=\"api_key\"\r\n\r\n",
    "https://a:b@",
    "ACME-12",
    "AKIA0000000000000000 ",
];
