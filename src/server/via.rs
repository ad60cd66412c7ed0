//! Reading through which servers a request has come.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::VIA;
use axum::http::request::Parts;

use crate::wire::Via;

impl<S: Send + Sync> FromRequestParts<S> for Via {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts.headers.get_all(VIA).iter().filter_map(|value| value.to_str().ok())))
    }
}
