//! Everything that can go wrong at the API: one value with a status, a stable code, and what to do.

use crate::api::types::ProblemBody;
use messaging::{AddError, CardDecodeError, CardError, FileError, SendError, UnknownContact};
use runtime::http::{Response, StatusCode, respond};
use store::StoreError;

/// Every code, its status and when it is said. A code never changes its meaning.
pub(crate) const CODES: &[(&str, u16, &str)] = &[
    ("bad_app_id", 400, "an application's number is one"),
    ("bad_blob_id", 400, "32 lower-case hex digits"),
    ("bad_body", 400, "the body's transfer encoding is broken"),
    (
        "bad_card",
        400,
        "the text is no card; `detail` says what is wrong",
    ),
    ("bad_contact_id", 400, "32 lower-case hex digits"),
    (
        "bad_expiry",
        400,
        "a card: 1 second to 30 days; a message: 1 second to 7 days",
    ),
    (
        "bad_file",
        400,
        "the file's name or type is not allowed; `detail` says which",
    ),
    ("bad_json", 400, "the body is not as documented"),
    (
        "bad_message_id",
        400,
        "yours: 1 to 64 characters out of `A-Z a-z 0-9 . _ ~ -`; theirs: 32 hex digits",
    ),
    (
        "bad_name",
        400,
        "a name has 1 to 32 bytes (an application's 1 to 64), no control characters",
    ),
    (
        "bad_position",
        400,
        "`after`, `Last-Event-ID` and `through` are numbers of events",
    ),
    (
        "bad_query",
        400,
        "a parameter is unknown, double, or not what it should be",
    ),
    ("bad_scopes", 400, "an application needs at least one scope"),
    (
        "empty_text",
        400,
        "a message says something, or brings a file",
    ),
    (
        "bad_token",
        401,
        "no token, or one that is not known (any more)",
    ),
    ("foreign_origin", 403, "web pages may not use this API"),
    ("missing_scope", 403, "the token is good, and not for this"),
    ("no_such_place", 404, "there is no such path"),
    ("unknown_app", 404, "no such application"),
    ("unknown_blob", 404, "no such file, or not whole yet"),
    (
        "unknown_contact",
        404,
        "nobody of that id is on the list, or not for this application",
    ),
    ("unknown_file", 404, "no such message offers a file"),
    ("unknown_message", 404, "no such message is remembered"),
    (
        "wrong_method",
        405,
        "`detail` and `Allow` name the right ones",
    ),
    ("slow_body", 408, "the body came too slowly"),
    (
        "already_added",
        409,
        "the card's owner is a contact already",
    ),
    ("file_over", 409, "the file is complete, cancelled or gone"),
    (
        "id_conflict",
        409,
        "the message id was used for another message",
    ),
    ("own_card", 409, "the card is our own"),
    ("card_expired", 410, "ask for a new card"),
    ("body_too_large", 413, "with `max`"),
    ("file_too_large", 413, "`limits.file_max`; with `max`"),
    ("text_too_long", 413, "with `max`"),
    (
        "not_json",
        415,
        "the body does not call itself `application/json`",
    ),
    (
        "not_octets",
        415,
        "an upload does not call itself `application/octet-stream`",
    ),
    ("bad_range", 416, "the range lies outside of the file"),
    ("wrong_host", 421, "the `Host` is not ours"),
    ("wrong_network", 422, "the card belongs to another network"),
    (
        "not_a_websocket",
        426,
        "the request does not ask for a WebSocket of version 13",
    ),
    (
        "outbox_full",
        429,
        "256 messages or 16 files to this contact are not delivered yet, or 1024 files to all",
    ),
    ("too_many_apps", 429, "64 applications; revoke one"),
    ("too_many_contacts", 429, "`limits.contacts_max`"),
    ("too_many_invites", 429, "16 unused cards wait"),
    ("busy", 503, "the daemon is busy or stopping; ask again"),
    ("no_directory", 503, "the network is not known yet"),
    ("store_failed", 503, "the disk refused; the daemon ends"),
    (
        "too_few_gateways",
        503,
        "the network has fewer than two gateways besides the entry gateway",
    ),
    (
        "too_many_streams",
        503,
        "`limits.streams_max` readers; end one",
    ),
    (
        "no_room",
        507,
        "the disk or `limits.files_bytes_max` is full",
    ),
];

/// Codes that any request can get.
pub(crate) const EVERYWHERE: [&str; 8] = [
    "bad_token",
    "foreign_origin",
    "missing_scope",
    "wrong_host",
    "busy",
    "store_failed",
    "no_room",
    "bad_query",
];
/// Codes that any request with a JSON body can get.
pub(crate) const WITH_JSON: [&str; 5] = [
    "bad_json",
    "bad_body",
    "slow_body",
    "body_too_large",
    "not_json",
];
/// Codes that any request with raw bytes can get.
pub(crate) const WITH_BYTES: [&str; 3] = ["bad_body", "slow_body", "not_octets"];

/// When to ask again where nothing better is known.
const RETRY_MS: u64 = 1_000;

/// The status of a code.
pub(crate) fn status_of(code: &str) -> Option<u16> {
    CODES.iter().find(|c| c.0 == code).map(|c| c.1)
}

/// An answer that is no success.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    max: Option<u64>,
    allow: Option<String>,
}

impl Problem {
    /// `code` is one of [`CODES`]; `detail` says what to do.
    pub(crate) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        let status = status_of(code).and_then(|s| StatusCode::from_u16(s).ok());
        Self {
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            detail: detail.into(),
            max: None,
            allow: None,
        }
    }

    pub(crate) fn with_max(mut self, max: u64) -> Self {
        self.max = Some(max);
        self
    }

    /// Methods that there are, for the header `Allow`.
    pub(crate) fn allow(mut self, methods: String) -> Self {
        self.allow = Some(methods);
        self
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// The daemon is stopping or its loop is overfull.
    pub(crate) fn busy() -> Self {
        Self::new("busy", "the daemon is busy or stopping; try again")
    }

    /// The disk refused.
    pub(crate) fn store_failed() -> Self {
        let detail = "the store failed; see the daemon's log and its disk";
        Self::new("store_failed", detail)
    }

    /// The disk is full; what is there stays.
    pub(crate) fn disk_full() -> Self {
        let detail = "the disk is full, and nothing was changed; make room on it, then ask again";
        Self::new("no_room", detail)
    }

    pub(crate) fn unknown_contact() -> Self {
        Self::new("unknown_contact", "no such contact; add their card first")
    }

    pub(crate) fn body_too_large(max: usize) -> Self {
        let detail = format!("a body has at most {max} bytes");
        Self::new("body_too_large", detail).with_max(max as u64)
    }

    pub(crate) fn bad_query(detail: impl Into<String>) -> Self {
        Self::new("bad_query", detail)
    }

    /// As it goes out; `request` names it.
    pub(crate) fn response(&self, request: &str) -> Response {
        let again = matches!(self.status.as_u16(), 429 | 503) && self.code != "store_failed";
        let retry_after_ms = again.then_some(RETRY_MS);
        let body = ProblemBody {
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            code: self.code.to_owned(),
            detail: self.detail.clone(),
            request_id: Some(request.to_owned()),
            retry_after_ms,
            max: self.max,
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = respond(self.status, "application/problem+json", body);
        let headers = response.headers_mut();
        if let Some(ms) = retry_after_ms {
            headers.insert("retry-after", ms.div_ceil(1_000).into());
        }
        if let Some(Ok(allow)) = self.allow.as_ref().map(|a| a.parse()) {
            headers.insert("allow", allow);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let value = hyper::header::HeaderValue::from_static("Bearer");
            headers.insert("www-authenticate", value);
        }
        response
    }
}

impl From<CardError> for Problem {
    fn from(error: CardError) -> Self {
        let code = match error {
            CardError::NoDirectory => "no_directory",
            CardError::TooFewGateways => "too_few_gateways",
            CardError::TooManyInvites => "too_many_invites",
            CardError::BadName => "bad_name",
            CardError::BadExpiry => "bad_expiry",
        };
        Self::new(code, error.to_string())
    }
}

impl From<CardDecodeError> for Problem {
    fn from(error: CardDecodeError) -> Self {
        Self::new("bad_card", error.to_string())
    }
}

impl From<AddError> for Problem {
    fn from(error: AddError) -> Self {
        let code = match error {
            AddError::OwnCard => "own_card",
            AddError::AlreadyAdded => "already_added",
            AddError::Expired => "card_expired",
            AddError::WrongNetwork => "wrong_network",
            AddError::TooManyContacts => "too_many_contacts",
            AddError::BadName => "bad_name",
        };
        Self::new(code, error.to_string())
    }
}

impl From<SendError> for Problem {
    fn from(error: SendError) -> Self {
        let (code, max) = match error {
            SendError::UnknownContact => ("unknown_contact", None),
            SendError::TooLong { max } => ("text_too_long", Some(max)),
            SendError::Conflict => ("id_conflict", None),
            SendError::OutboxFull => ("outbox_full", None),
            SendError::BadFile(_) => ("bad_file", None),
        };
        let problem = Self::new(code, error.to_string());
        match max {
            Some(max) => problem.with_max(max as u64),
            None => problem,
        }
    }
}

impl From<UnknownContact> for Problem {
    fn from(_: UnknownContact) -> Self {
        Self::unknown_contact()
    }
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        let code = match error {
            FileError::UnknownContact => "unknown_contact",
            FileError::UnknownFile => "unknown_file",
            FileError::Over => "file_over",
        };
        Self::new(code, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Full | StoreError::NoSpace) {
            return Self::new("no_room", "there is no room for this file; remove others");
        }
        if matches!(error, StoreError::Missing) {
            return Self::new("unknown_blob", "no such file is here");
        }
        tracing::warn!(%error, "the disk refused a file");
        Self::store_failed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_specification_with_its_status() {
        let spec = include_str!("../../../docs/spec/client-api.md");
        for (code, status, when) in CODES {
            let line = format!("| {status} | `{code}` | {when} |");
            assert!(
                spec.contains(&line),
                "docs/spec/client-api.md lacks: {line}"
            );
        }
        let lines = spec
            .lines()
            .filter(|l| l.starts_with("| 4") || l.starts_with("| 5"));
        assert_eq!(lines.count(), CODES.len(), "the specification lists others");
    }

    #[test]
    fn codes_are_ordered_and_unique() {
        let keys: Vec<_> = CODES.iter().map(|c| (c.1, c.0)).collect();
        assert!(keys.windows(2).all(|w| w[0] < w[1]), "{keys:?}");
        let shared = EVERYWHERE.iter().chain(&WITH_JSON).chain(&WITH_BYTES);
        assert!(shared.into_iter().all(|c| status_of(c).is_some()));
    }
}
