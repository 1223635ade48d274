//! Everything that can go wrong at the API: one value with a status, a stable code, and what to do.

use crate::api::types::ProblemBody;
use messaging::{AddError, CardDecodeError, CardError, SendError};
use runtime::http::{Response, StatusCode, respond};

/// An answer that is no success.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    max: Option<usize>,
}

impl Problem {
    /// `code` never changes its meaning; `detail` says what to do.
    pub(crate) fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            detail: detail.into(),
            max: None,
        }
    }

    fn with_max(mut self, max: usize) -> Self {
        self.max = Some(max);
        self
    }

    /// The daemon is stopping or its loop is overfull.
    pub(crate) fn busy() -> Self {
        Self::new(503, "busy", "the daemon is busy or stopping; try again")
    }

    /// The disk refused.
    pub(crate) fn store_failed() -> Self {
        Self::new(
            503,
            "store_failed",
            "the store failed; see the daemon's log and its disk",
        )
    }

    pub(crate) fn unknown_contact() -> Self {
        Self::new(
            404,
            "unknown_contact",
            "no such contact; add their card first",
        )
    }

    pub(crate) fn body_too_large(max: usize) -> Self {
        let detail = format!("a body has at most {max} bytes");
        Self::new(413, "body_too_large", detail).with_max(max)
    }

    /// As it goes out.
    pub(crate) fn response(&self) -> Response {
        let body = ProblemBody {
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            code: self.code.to_owned(),
            detail: self.detail.clone(),
            max: self.max,
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        respond(self.status, "application/problem+json", body)
    }
}

impl From<CardError> for Problem {
    fn from(error: CardError) -> Self {
        let (status, code) = match error {
            CardError::NoDirectory => (503, "no_directory"),
            CardError::TooFewGateways => (503, "too_few_gateways"),
            CardError::TooManyInvites => (429, "too_many_invites"),
            CardError::BadName => (400, "bad_name"),
            CardError::BadExpiry => (400, "bad_expiry"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<CardDecodeError> for Problem {
    fn from(error: CardDecodeError) -> Self {
        Self::new(400, "bad_card", error.to_string())
    }
}

impl From<AddError> for Problem {
    fn from(error: AddError) -> Self {
        let (status, code) = match error {
            AddError::OwnCard => (409, "own_card"),
            AddError::AlreadyAdded => (409, "already_added"),
            AddError::Expired => (410, "card_expired"),
            AddError::WrongNetwork => (422, "wrong_network"),
            AddError::TooManyContacts => (429, "too_many_contacts"),
            AddError::BadName => (400, "bad_name"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<SendError> for Problem {
    fn from(error: SendError) -> Self {
        let (status, code) = match error {
            SendError::UnknownContact => (404, "unknown_contact"),
            SendError::TooLong { .. } => (413, "text_too_long"),
            SendError::Conflict => (409, "id_conflict"),
            SendError::OutboxFull => (429, "outbox_full"),
            SendError::BadFile(_) => (400, "bad_file"),
        };
        let problem = Self::new(status, code, error.to_string());
        match error {
            SendError::TooLong { max } => problem.with_max(max),
            SendError::UnknownContact
            | SendError::Conflict
            | SendError::OutboxFull
            | SendError::BadFile(_) => problem,
        }
    }
}
