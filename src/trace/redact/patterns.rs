//! The kinds of keys that are known by how they begin, as data.
//!
//! Rule sets of secret scanners are written for whole files: their patterns look back and ahead without limits, which a stream
//! cannot. (Of the crates that publish such sets as data, `kingfisher-rules` needs a newer compiler than ours and is in part
//! under a licence that asks for the same one; `nosecrets-rules` would mean holding back kilobytes of every stream.) Here a rule
//! is a beginning and what must follow it, so a few bytes of state decide it, wherever a text is cut.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// A kind of key.
pub(super) struct KeyPattern {
    /// How it begins.
    pub prefix: &'static str,
    /// The bytes that can follow.
    pub tail: Tail,
    /// The least number of them.
    pub min: usize,
    /// The most. A longer word is something else.
    pub max: usize,
    /// Whether one of them must be a digit. Without one, the text may consist of ordinary words.
    pub needs_digit: bool,
    /// For keys in parts with dots between: the least and the most bytes of each part after the prefix. Else empty, and a dot is
    /// a byte like others.
    pub parts: &'static [(usize, usize)],
}

/// Which bytes a key has after its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Everything that any key or its encoding has.
    Token,
    /// Letters, digits, `_`, `-` and the dots between parts.
    Url,
    /// Capitals and digits.
    Capitals,
    /// Hexadecimal digits in lower case.
    Hex,
    /// Base64 without padding.
    Base64,
    /// Letters and digits.
    Alphanumeric,
}

impl Tail {
    pub(crate) fn has(self, byte: u8) -> bool {
        match self {
            Self::Token => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'=' | b'.' | b'~'),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Self::Capitals => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Hex => byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'),
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'),
            Self::Alphanumeric => byte.is_ascii_alphanumeric(),
        }
    }
}

/// A key that goes on for as long as it can, with a digit in it.
const fn rule(prefix: &'static str, min: usize) -> KeyPattern {
    KeyPattern { prefix, tail: Tail::Token, min, max: usize::MAX, needs_digit: true, parts: &[] }
}

/// The same, for prefixes that no ordinary word has.
const fn sure(prefix: &'static str, min: usize) -> KeyPattern {
    KeyPattern { needs_digit: false, ..rule(prefix, min) }
}

/// A key of an exact length.
const fn exact(prefix: &'static str, tail: Tail, length: usize) -> KeyPattern {
    KeyPattern { prefix, tail, min: length, max: length, needs_digit: false, parts: &[] }
}

/// A key of letters and digits, with a digit in it.
const fn word(prefix: &'static str, min: usize, max: usize) -> KeyPattern {
    KeyPattern { prefix, tail: Tail::Alphanumeric, min, max, needs_digit: true, parts: &[] }
}

/// A key in parts with dots between.
const fn dotted(prefix: &'static str, parts: &'static [(usize, usize)]) -> KeyPattern {
    KeyPattern { prefix, tail: Tail::Url, min: 0, max: usize::MAX, needs_digit: true, parts }
}

/// The parts of a Discord bot token after its first letter: an id, a time and a code.
const DISCORD: &[(usize, usize)] = &[(22, 28), (6, 7), (27, 64)];

/// The known kinds of keys.
pub(super) const RULES: &[KeyPattern] = &[
    // Anthropic, and OpenAI with all that copied its prefix.
    sure("sk-ant-", 4),
    rule("sk-", 16),
    rule("gsk_", 20),
    rule("xai-", 20),
    rule("r8_", 20),
    rule("hf_", 24),
    rule("pplx-", 30),
    rule("tvly-", 20),
    rule("lsv2_", 20),
    rule("csk-", 30),
    rule("nvapi-", 40),
    rule("jina_", 40),
    rule("e2b_", 30),
    rule("tgp_v1_", 30),
    rule("pcsk_", 40),
    rule("api_org_", 30),
    exact("sk_", Tail::Hex, 48),
    word("fw_", 22, 26),
    exact("fc-", Tail::Hex, 32),
    rule("pa-", 40),
    rule("wandb_v1_", 30),
    rule("vck_", 40),
    // Code hosting and package registries.
    sure("ghp_", 16),
    sure("gho_", 16),
    sure("ghu_", 16),
    sure("ghs_", 16),
    sure("ghr_", 16),
    sure("github_pat_", 16),
    sure("glpat-", 16),
    rule("glrt-", 16),
    rule("gldt-", 16),
    rule("glptt-", 16),
    rule("glcbt-", 16),
    rule("glft-", 16),
    rule("glimt-", 16),
    rule("glsoat-", 16),
    rule("gloas-", 16),
    rule("glagent-", 16),
    rule("glffct-", 16),
    rule("GR1348941", 16),
    rule("npm_", 30),
    rule("pypi-", 40),
    rule("rubygems_", 40),
    rule("dckr_pat_", 20),
    rule("ATATT3", 40),
    rule("ATBB", 28),
    rule("ATCTT3", 40),
    rule("BBDC-", 30),
    rule("CCIPAT_", 20),
    rule("bkua_", 30),
    rule("CLOJARS_", 40),
    rule("AKCp", 50),
    rule("sgp_", 40),
    rule("dckr_oat_", 20),
    word("cio", 32, 32),
    word("oy2", 43, 43),
    exact("squ_", Tail::Hex, 40),
    exact("sqp_", Tail::Hex, 40),
    exact("sqa_", Tail::Hex, 40),
    // Clouds.
    exact("AKIA", Tail::Capitals, 16),
    exact("ASIA", Tail::Capitals, 16),
    exact("ABIA", Tail::Capitals, 16),
    exact("ACCA", Tail::Capitals, 16),
    rule("AIza", 30),
    rule("ya29.", 20),
    rule("GOCSPX-", 20),
    rule("dop_v1_", 30),
    rule("doo_v1_", 30),
    rule("dor_v1_", 30),
    rule("hvs.", 20),
    rule("hvb.", 20),
    rule("hvr.", 20),
    rule("dapi", 32),
    rule("dp.pt.", 30),
    rule("sbp_", 30),
    rule("pscale_tkn_", 20),
    rule("pscale_pw_", 20),
    rule("HRKU-", 20),
    rule("pscale_oauth_", 20),
    rule("nfp_", 30),
    rule("fo1_", 40),
    rule("fm2_", 40),
    rule("tskey-", 20),
    rule("atlasv1.", 40),
    rule("dt0c01.", 40),
    rule("APA91b", 100),
    KeyPattern { max: 160, ..rule("1//0", 40) },
    KeyPattern { max: 160, ..rule("4/0A", 40) },
    word("LTAI", 12, 24),
    word("AKID", 32, 36),
    rule("sb_secret_", 20),
    rule("pul-", 40),
    rule("SWMTKN-1-", 50),
    rule("vercel_blob_rw_", 20),
    rule("y0_", 50),
    rule("sl.", 100),
    // Messages and mail.
    rule("xoxa-", 10),
    rule("xoxb-", 10),
    rule("xoxc-", 10),
    rule("xoxd-", 10),
    rule("xoxe-", 10),
    rule("xoxe.", 10),
    rule("xoxp-", 10),
    rule("xoxr-", 10),
    rule("xoxs-", 10),
    rule("xapp-", 10),
    rule("hooks.slack.com/services/", 20),
    rule("discord.com/api/webhooks/", 40),
    rule("discordapp.com/api/webhooks/", 40),
    dotted("SG.", &[(16, 64), (16, usize::MAX)]),
    dotted("M", DISCORD),
    dotted("N", DISCORD),
    dotted("O", DISCORD),
    exact("SK", Tail::Hex, 32),
    exact("AC", Tail::Hex, 32),
    exact("key-", Tail::Hex, 32),
    rule("xkeysib-", 40),
    rule("xsmtpsib-", 40),
    rule("re_", 33),
    // Payment and shops.
    rule("sk_live_", 10),
    rule("sk_test_", 10),
    rule("rk_live_", 10),
    rule("rk_test_", 10),
    rule("whsec_", 20),
    rule("sq0atp-", 20),
    rule("sq0csp-", 20),
    rule("shpat_", 20),
    rule("shpca_", 20),
    rule("shppa_", 20),
    rule("shpss_", 20),
    rule("shippo_live_", 30),
    rule("FLWSECK_", 20),
    rule("FLWSECK-", 20),
    rule("rzp_live_", 14),
    rule("rzp_test_", 14),
    word("EZAK", 54, 54),
    word("EZTK", 54, 54),
    rule("access-sandbox-", 36),
    rule("access-development-", 36),
    rule("access-production-", 36),
    rule("duffel_live_", 30),
    rule("duffel_test_", 30),
    // Tools.
    rule("lin_api_", 30),
    rule("ntn_", 40),
    rule("secret_", 40),
    rule("figd_", 30),
    rule("PMAK-", 40),
    rule("sntrys_", 30),
    rule("sntryu_", 30),
    rule("NRAK-", 20),
    rule("glsa_", 30),
    rule("glc_", 30),
    rule("phx_", 40),
    rule("pnu_", 30),
    rule("rdme_", 50),
    rule("tfp_", 40),
    rule("ops_eyJ", 100),
    rule("sk.eyJ", 60),
    rule("CFPAT-", 40),
    rule("pat-na1-", 30),
    rule("pat-eu1-", 30),
    rule("lin_oauth_", 30),
    word("aio_", 28, 28),
    dotted("pat", &[(14, 14), (40, usize::MAX)]),
    // Ways to send and to keep a key.
    sure("AGE-SECRET-KEY-1", 30),
    dotted("eyJ", &[(8, 4096), (8, usize::MAX)]),
    rule("Bearer ", 12),
    rule("bearer ", 12),
    rule("BEARER ", 12),
    rule("Basic ", 12),
    rule("basic ", 12),
    rule("BASIC ", 12),
];

/// Private keys, which are recognised by their beginning when they are encoded in base64.
const ENCODED: [&str; 5] = [
    "-----BEGIN PRIVATE KEY",
    "-----BEGIN RSA PRIVATE KEY",
    "-----BEGIN EC PRIVATE KEY",
    "-----BEGIN OPENSSH PRIVATE KEY",
    "-----BEGIN ENCRYPTED PRIVATE KEY",
];

/// Secret access keys of AWS have no prefix; one that stands close behind an access key id is known by that.
pub(super) const AWS_SECRET: KeyPattern =
    KeyPattern { prefix: "", tail: Tail::Base64, min: 40, max: 40, needs_digit: false, parts: &[] };

/// The rules, and those for the base64 of the same keys.
static ALL: LazyLock<Vec<KeyPattern>> = LazyLock::new(|| {
    let plain = RULES.iter().map(|rule| KeyPattern { ..*rule });
    // Shorter prefixes would be found in pictures.
    let prefixes = RULES.iter().map(|rule| rule.prefix).filter(|prefix| prefix.len() >= 4 && !prefix.ends_with(' '));
    let encoded = prefixes.chain(ENCODED).map(|prefix| {
        let mut encoded = STANDARD_NO_PAD.encode(prefix);
        // The last character holds bits of what follows, unless the prefix ends with it.
        encoded.truncate(prefix.len() * 8 / 6);
        // One for each rule, and made once.
        KeyPattern { needs_digit: false, ..rule(encoded.leak(), 20) }
    });
    plain.chain(encoded).collect()
});

/// The rules by how they begin.
pub(super) struct Beginnings {
    by_first_byte: Vec<Vec<&'static KeyPattern>>,
    /// Whether a rule begins with these two bytes: most words are dismissed by that alone.
    pairs: Vec<bool>,
}

impl Beginnings {
    /// The rules that begin with these two bytes, or have only the first one.
    #[inline]
    pub(crate) fn of(&self, first: u8, second: u8) -> impl Iterator<Item = &'static KeyPattern> {
        let rules: &[&'static KeyPattern] =
            if self.pairs[pair(first, second)] { &self.by_first_byte[usize::from(first)] } else { &[] };
        rules.iter().copied().filter(move |rule| rule.prefix.as_bytes().get(1).is_none_or(|byte| *byte == second))
    }
}

fn pair(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

/// All rules by how they begin.
pub(super) static BEGINNINGS: LazyLock<Beginnings> = LazyLock::new(|| {
    let mut by_first_byte = vec![Vec::new(); 256];
    let mut pairs = vec![false; 1 << 16];
    for rule in ALL.iter() {
        let first = rule.prefix.as_bytes()[0];
        by_first_byte[usize::from(first)].push(rule);
        match rule.prefix.as_bytes().get(1) {
            Some(second) => pairs[pair(first, *second)] = true,
            None => pairs[pair(first, 0)..=pair(first, u8::MAX)].fill(true),
        }
    }
    Beginnings { by_first_byte, pairs }
});
