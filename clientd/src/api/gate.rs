//! Who may ask at all. Loopback is no border: every web page can make its browser talk to it, and
//! other users of this machine can connect. So every request, health included, must name us as its
//! host, come from no web page, and carry a token.

use super::problem::Problem;
use super::routes::Need;
use super::types::Scope;
use crate::apps::{App, OWNER, Roster, TOKEN_PREFIX};
use crate::token::Token;
use hyper::Uri;
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap,
    HeaderName, HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use messaging::ContactId;
use runtime::http::Response;
use std::sync::Arc;

/// The names that one listener answers to.
#[derive(Clone)]
pub(crate) enum Names {
    /// Loopback, at this port.
    Loopback(u16),
    /// Loopback's names and these, at this port. 443 may be left out.
    Others(u16, Vec<String>),
    /// A Unix socket has no name: loopback's, with whatever port.
    Socket,
}

impl Names {
    fn is_us(&self, host: &str) -> bool {
        let (name, port) = split(host);
        let loopback =
            name.eq_ignore_ascii_case("localhost") || ["127.0.0.1", "[::1]"].contains(&name);
        match self {
            Self::Loopback(ours) => loopback && port == Some(&ours.to_string()),
            Self::Others(ours, names) => {
                let named = names.iter().any(|n| n.eq_ignore_ascii_case(name));
                let at = port == Some(&ours.to_string()) || (port.is_none() && *ours == 443);
                (loopback || named) && at
            }
            Self::Socket => loopback,
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Loopback(port) => {
                format!("127.0.0.1:{port}, localhost:{port} or [::1]:{port}")
            }
            Self::Others(port, names) => format!("{}, at port {port}", names.join(", ")),
            Self::Socket => "localhost".to_owned(),
        }
    }
}

/// Name and port; a port is digits, so that the last group of an IPv6 address in brackets is none.
fn split(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            (name, Some(port))
        }
        Some(_) | None => (host, None),
    }
}

/// Who asks: the owner, or an application.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) Option<Arc<App>>);

impl Caller {
    pub(crate) fn id(&self) -> u32 {
        self.0.as_ref().map_or(OWNER, |app| app.id)
    }

    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.0.as_ref().is_none_or(|app| app.may(scope))
    }

    /// Whether a contact exists for it.
    pub(crate) fn sees(&self, contact: &ContactId) -> bool {
        self.0.as_ref().is_none_or(|app| app.sees(Some(contact)))
    }

    pub(super) fn check(&self, need: Need) -> Result<(), Problem> {
        match need {
            Need::Token => Ok(()),
            Need::Scope(scope) if self.may(scope) => Ok(()),
            Need::Scope(scope) => {
                let detail = format!("this token lacks the scope {}", scope.name());
                Err(Problem::new("missing_scope", detail))
            }
        }
    }
}

/// Whether the request is for us and from no web page.
pub(super) fn check(uri: &Uri, headers: &HeaderMap, names: &Names) -> Result<(), Problem> {
    let target_is_ours = uri.authority().is_none_or(|a| names.is_us(a.as_str()));
    if !target_is_ours || !only(headers, &HOST).is_some_and(|host| names.is_us(host)) {
        let detail = format!("the Host must be {}", names.told());
        return Err(Problem::new("wrong_host", detail));
    }
    let site = HeaderName::from_static("sec-fetch-site");
    let from_page = headers
        .get_all(site)
        .iter()
        .any(|s| s != "none" && s != "same-origin");
    // We serve no page, so no origin is ours.
    if headers.contains_key(ORIGIN) || from_page {
        let detail = "web pages may not use this API";
        return Err(Problem::new("foreign_origin", detail));
    }
    Ok(())
}

/// Who carries this token.
pub(super) fn caller(
    headers: &HeaderMap,
    owner: &Token,
    roster: &Roster,
) -> Result<Caller, Problem> {
    let given = only(headers, &AUTHORIZATION).and_then(|a| a.strip_prefix("Bearer "));
    if let Some(given) = given {
        if owner.is(given) {
            return Ok(Caller(None));
        }
        if given.starts_with(TOKEN_PREFIX)
            && let Some(app) = roster.by_token(given)
        {
            return Ok(Caller(Some(app.clone())));
        }
    }
    let detail = "send Authorization: Bearer and the token of the file api.token, or one that was \
                  minted for this application and not revoked";
    Err(Problem::new("bad_token", detail))
}

/// Whether the body calls itself by this media type.
pub(super) fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    only(headers, &CONTENT_TYPE).is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case(wanted)
    })
}

/// What keeps an answer out of caches and pages, and its name.
pub(super) fn harden(mut response: Response, request: &str) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = "default-src 'none'; frame-ancestors 'none'; sandbox";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    let alone = HeaderValue::from_static("same-origin");
    headers.insert("cross-origin-resource-policy", alone);
    if let Ok(name) = HeaderValue::from_str(request) {
        headers.insert("x-request-id", name);
    }
    response
}

/// The one value of a header; `None` when there is none or more than one.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
