//! The secret of one run: whoever uses a port of the run must know it.

use std::fmt;
use std::io;

use axum::http::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};

/// The header that carries a run's token. It is our own, so that a client's credentials keep theirs.
pub(crate) const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-anyclaude-token");

/// A random token of 256 bits, in characters that every header and variable may have. It shows itself to nobody who prints it.
#[derive(Clone)]
pub struct RunToken(String);

impl RunToken {
    /// A new token, from the system's randomness.
    ///
    /// # Errors
    /// The system gives none.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 32];
        OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// A token that another run has made.
    pub(crate) fn known(secret: &str) -> Self {
        Self(secret.to_owned())
    }

    /// The secret itself.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }

    /// Whether this is it.
    pub(crate) fn is(&self, offered: &str) -> bool {
        same(offered, &self.0)
    }

    /// Whether a request has it in the header that is made for it.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        headers.get(TOKEN_HEADER).and_then(|value| value.to_str().ok()).is_some_and(|offered| self.is(offered))
    }
}

impl fmt::Debug for RunToken {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("RunToken(…)")
    }
}

/// Compares digests, so that the time it takes does not reveal how much of the secret was right.
pub(super) fn same(offered: &str, secret: &str) -> bool {
    Sha256::digest(offered) == Sha256::digest(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_has_a_token_of_its_own_that_is_never_printed() {
        let (token, other) = (RunToken::random().unwrap(), RunToken::random().unwrap());
        assert_eq!((token.secret().len(), format!("{token:?}").as_str()), (43, "RunToken(…)"));
        let headers: HeaderMap = [(TOKEN_HEADER, token.secret().parse().unwrap())].into_iter().collect();
        assert!(token.is_in(&headers) && !other.is_in(&headers) && !token.is_in(&HeaderMap::new()));
    }
}
