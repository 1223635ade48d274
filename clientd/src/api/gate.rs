//! Who may ask at all. Loopback is no border: every web page can make its browser talk to it, and
//! other users of this machine can connect. So every request, health included, must name us as its
//! host, come from no web page, and carry the token.

use super::problem::Problem;
use crate::token::Token;
use hyper::Uri;
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap,
    HeaderName, HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use runtime::http::Response;

/// Checks in this order: host, origin, token.
pub(super) fn check(
    uri: &Uri,
    headers: &HeaderMap,
    port: u16,
    token: &Token,
) -> Result<(), Problem> {
    let target_is_ours = uri.authority().is_none_or(|a| is_us(a.as_str(), port));
    if !target_is_ours || !only(headers, &HOST).is_some_and(|host| is_us(host, port)) {
        let detail = format!("the Host must be 127.0.0.1:{port}, localhost:{port} or [::1]:{port}");
        return Err(Problem::new(421, "wrong_host", detail));
    }
    let site = HeaderName::from_static("sec-fetch-site");
    let from_page = headers
        .get_all(site)
        .iter()
        .any(|s| s != "none" && s != "same-origin");
    // We serve no page, so no origin is ours.
    if headers.contains_key(ORIGIN) || from_page {
        return Err(Problem::new(
            403,
            "foreign_origin",
            "web pages may not use this API",
        ));
    }
    let given = only(headers, &AUTHORIZATION).and_then(|a| a.strip_prefix("Bearer "));
    if !given.is_some_and(|given| token.is(given)) {
        let detail = "send Authorization: Bearer and the token of the file api.token";
        return Err(Problem::new(401, "bad_token", detail));
    }
    Ok(())
}

/// Whether the body calls itself JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    only(headers, &CONTENT_TYPE).is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    })
}

/// What keeps an answer out of caches and pages.
pub(super) fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    response
}

fn is_us(host: &str, port: u16) -> bool {
    let name = host.strip_suffix(&format!(":{port}"));
    name.is_some_and(|name| {
        name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]"
    })
}

/// The one value of a header; `None` when there is none or more than one.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
