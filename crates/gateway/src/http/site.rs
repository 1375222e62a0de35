//! This gateway as the browser names it.

use axum::http::{HeaderMap, header};

use crate::settings::edge::PublicUrl;

/// What its addresses begin with, e.g. `http://localhost:8080`: the shop's public
/// address, or else as it is asked. What proxies say of TLS is there only when they are
/// trusted ([`crate::edge`]).
pub fn of(public_url: Option<&PublicUrl>, headers: &HeaderMap) -> String {
    if let Some(url) = public_url {
        return url.to_string();
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost:8080");
    let scheme = match headers.get("x-forwarded-proto") {
        Some(scheme) if scheme == "https" => "https",
        _ => "http",
    };
    format!("{scheme}://{host}")
}
