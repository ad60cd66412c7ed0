//! Every kind of secret that is known, each with a text that has one. The tests of the built program use them too.
//!
//! They are put together at run time, so that none stands in the source.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(crate) const LETTERS: &[u8] = b"Zk3vQ9xT1mB7wR5hJ2nF8cY4dL6gPsUaEeKiOo0";
pub(crate) const CAPITALS: &[u8] = b"Q7ZK3XW5B2MT9RHJ4NF8CY6DLGPSVUAE";
pub(crate) const HEX: &[u8] = b"9f3c1a7e5b0d2846";

/// Bytes of an alphabet that look like chance, `length` of them.
pub(crate) fn mixed(alphabet: &[u8], length: usize) -> String {
    (0..length).map(|at| char::from(alphabet[(at * 7 + at / alphabet.len() * 3 + length) % alphabet.len()])).collect()
}

/// A kind of secret: its name, a text that has one, and the part of it that must go.
pub(crate) struct Kind {
    pub name: &'static str,
    pub text: String,
    pub secret: String,
}

/// A secret that is known by itself, between what belongs to it.
fn kind(name: &'static str, before: &str, secret: String, after: &str) -> Kind {
    Kind { name, text: format!("{before}{secret}{after}"), secret }
}

/// All kinds.
pub(crate) fn kinds() -> Vec<Kind> {
    let chance = |length| mixed(LETTERS, length);
    let hex = |length| mixed(HEX, length);
    let capitals = |length| mixed(CAPITALS, length);
    let base64 = |text: &str| STANDARD.encode(text);
    let by_prefix = [
        ("Anthropic", "sk-ant-api03-", chance(90)),
        ("OpenAI", "sk-proj-", chance(60)),
        ("OpenRouter", "sk-or-v1-", hex(64)),
        ("Groq", "gsk_", chance(52)),
        ("xAI", "xai-", chance(80)),
        ("Replicate", "r8_", chance(37)),
        ("Hugging Face", "hf_", chance(34)),
        ("Cerebras", "csk-", chance(48)),
        ("NVIDIA", "nvapi-", chance(64)),
        ("Pinecone", "pcsk_", chance(60)),
        ("GitHub", "ghp_", chance(36)),
        ("GitHub, fine-grained", "github_pat_", chance(82)),
        ("GitLab", "glpat-", chance(20)),
        ("GitLab runner", "glrt-", chance(20)),
        ("GitLab runner, older", "GR1348941", chance(20)),
        ("GitLab feed", "glft-", chance(20)),
        ("npm", "npm_", chance(36)),
        ("PyPI", "pypi-", chance(120)),
        ("Docker Hub", "dckr_pat_", chance(27)),
        ("CircleCI", "CCIPAT_", chance(60)),
        ("AWS access key", "AKIA", capitals(16)),
        ("Google API", "AIza", chance(35)),
        ("Google OAuth", "ya29.", chance(100)),
        ("DigitalOcean", "dop_v1_", hex(64)),
        ("Vault", "hvs.", chance(90)),
        ("Tailscale", "tskey-auth-", chance(40)),
        ("Netlify", "nfp_", chance(36)),
        ("Terraform", "atlasv1.", chance(67)),
        ("Slack bot", "xoxb-", chance(50)),
        ("Slack, older", "xoxa-", chance(50)),
        ("Slack app", "xapp-1-", chance(80)),
        ("Slack client", "xoxc-", chance(60)),
        ("Slack webhook", "https://hooks.slack.com/services/", format!("T{}/B{}/{}", capitals(8), capitals(8), chance(24))),
        ("Discord webhook", "https://discord.com/api/webhooks/", format!("908172635445362718/{}", chance(68))),
        ("Stripe", "sk_live_", chance(24)),
        ("Stripe, restricted", "rk_live_", chance(24)),
        ("SendGrid", "SG.", format!("{}.{}", chance(22), chance(43))),
        ("Twilio", "SK", hex(32)),
        ("Shopify", "shpat_", hex(32)),
        ("Airtable", "pat", format!("{}.{}", chance(14), hex(64))),
        ("age", "AGE-SECRET-KEY-1", capitals(58)),
        ("JWT", "eyJ", format!("{}.eyJ{}.{}", chance(33), chance(60), chance(43))),
        ("bearer", "Bearer ", chance(40)),
        ("basic", "Basic ", base64(&format!("app:{}", chance(20)))),
        ("Telegram", "123456789:", format!("AA{}", chance(33))),
        ("Discord bot", "M", format!("{}.{}.{}", chance(25), chance(6), chance(38))),
    ];
    let by_name = [
        ("AWS secret, by its id", format!("{}{} ", "AKIA", capitals(16)), chance(40), ""),
        ("AWS secret, by its name", "aws_secret_access_key = ".into(), chance(40), ""),
        ("Azure storage", "AccountName=a;AccountKey=".into(), base64(&chance(60)), ";EndpointSuffix=x"),
        ("base64 of a key", String::new(), base64(&format!("{}{}", "sk-ant-api03-", chance(50))), ""),
        ("password in an address", "postgres://app:".into(), chance(12), "@db.example/x"),
        ("password in the environment", "DB_PASSWORD=".into(), format!("{}{}", "hunter", "2aB"), ""),
        ("password of digits in the environment", "DB_PASS=".into(), "70718293".into(), ""),
        ("exported key", "export API_KEY=\"".into(), chance(24), "\""),
        ("password in YAML", "password: ".into(), format!("{}{}", "hunter", "2aB"), ""),
        ("password of digits in YAML", "password: ".into(), "7071".into(), ""),
        ("password of digits in JSON", "{\"password\": ".into(), "70718293".into(), "}"),
        ("token in JSON", "{\"token\":\"".into(), chance(24), "\"}"),
        ("signature in an address", "https://x.example/a?sv=1&sig=".into(), chance(43), "&se=2"),
        ("header of basic authentication", "Authorization: Basic ".into(), base64("admin:swordfish"), ""),
        ("password of one word in YAML", "\npassword: ".into(), "swordfish".into(), "\nport: 1"),
        ("password of one word in properties", "\ndb.password=".into(), "swordfish".into(), "\n"),
        ("variable in YAML", "- name: DB_PASSWORD\n  value: ".into(), "swordfish".into(), "\n"),
        ("variable in JSON", "{\"name\": \"API_KEY\", \"value\": \"".into(), "swordfish".into(), "\"}"),
        ("setting in XML", "<add key=\"ApiKey\" value=\"".into(), chance(24), "\" />"),
        ("property list", "<key>password</key>\n<string>".into(), "swordfish".into(), "</string>"),
        ("part of a form", "form-data; name=\"api_key\"\r\n\r\n".into(), "swordfish".into(), "\r\n--b"),
        ("user and password", "curl -u ada:".into(), chance(12), " https://x.example"),
        ("token in an address", "https://".into(), chance(40), "@git.example/x.git"),
        ("PEM", format!("-----BEGIN {} KEY-----\n", "RSA PRIVATE"), chance(64), "\n-----END RSA PRIVATE KEY-----"),
        ("PGP", format!("-----BEGIN PGP {} KEY BLOCK-----\n\n", "PRIVATE"), chance(64), "\n-----END PGP PRIVATE KEY BLOCK-----"),
    ];
    let by_prefix = by_prefix.map(|(name, before, secret)| kind(name, before, secret, ""));
    by_prefix.into_iter().chain(by_name.map(|(name, before, secret, after)| kind(name, &before, secret, after))).collect()
}
