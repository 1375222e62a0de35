//! This gateway as the browser names it.

use axum::http::{HeaderMap, header};

/// What its addresses begin with, e.g. `http://localhost:8080`.
pub fn of(headers: &HeaderMap) -> String {
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
