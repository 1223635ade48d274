//! Talks to the running daemon through its API, as any application would. Not here: what the verbs say
//! ([`super::people`] and the others).

use crate::api::types::{Contact, Contacts, ProblemBody};
use crate::token::{ADDRESS_FILE, TOKEN_FILE};
use runtime::http_client::{Answer, HttpClient, HttpClientError, Lines, Method, Pieces};
use runtime::node::NodeError;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// A running daemon.
pub(super) struct Talk {
    http: HttpClient,
    bearer: Zeroizing<String>,
}

impl Talk {
    /// By the files that it leaves in its data folder while it runs.
    pub(super) fn find(data_dir: &Path) -> Result<Self, NodeError> {
        let read = |name: &str| {
            std::fs::read_to_string(data_dir.join(name)).map_err(|error| {
                let folder = data_dir.display();
                ended(format!(
                    "no daemon runs with the folder {folder} ({error}): start it with \
                     `clientd run`, or name its --config or --data"
                ))
            })
        };
        let address = read(ADDRESS_FILE)?;
        let address = address.trim().parse().map_err(|_| {
            ended(format!(
                "{ADDRESS_FILE} holds no address; start the daemon again"
            ))
        })?;
        let token = Zeroizing::new(read(TOKEN_FILE)?);
        Ok(Self {
            http: HttpClient::new(address),
            bearer: Zeroizing::new(format!("Bearer {}", token.trim())),
        })
    }

    /// Everybody on the list.
    pub(super) async fn all_contacts(&self) -> Result<Vec<Contact>, NodeError> {
        let mut all = Vec::new();
        let mut path = "/v1/contacts?limit=200".to_owned();
        loop {
            let page: Contacts = self.ask(Method::GET, &path, None).await?;
            all.extend(page.contacts);
            match page.next {
                Some(next) => path = format!("/v1/contacts?limit=200&cursor={next}"),
                None => return Ok(all),
            }
        }
    }

    /// The one contact of that id or name.
    pub(super) async fn contact(&self, wanted: &str) -> Result<Contact, NodeError> {
        pick(self.all_contacts().await?, wanted)
    }

    /// The answer's JSON.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<T, NodeError> {
        decode(&self.request(method, path, body).await?)
    }

    /// A request whose answer must be a success.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, NodeError> {
        success(self.exchange(method, path, body).await?)
    }

    /// A request, whatever its answer.
    pub(super) async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, NodeError> {
        let mut headers = vec![("authorization", self.bearer.as_str())];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let bytes = body.map(|b| b.to_string()).unwrap_or_default();
        let answer = self.http.request(method, path, &headers, bytes).await;
        answer.map_err(unreachable)
    }

    /// Uploads `len` bytes.
    pub(super) async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        len: u64,
        pieces: mpsc::Receiver<bytes::Bytes>,
    ) -> Result<T, NodeError> {
        let headers = [
            ("authorization", self.bearer.as_str()),
            ("content-type", "application/octet-stream"),
        ];
        let answer = self.http.upload(path, &headers, len, pieces).await;
        decode(&success(answer.map_err(unreachable)?)?)
    }

    /// The bytes at a path.
    pub(super) async fn download(&self, path: &str) -> Result<Pieces, NodeError> {
        let headers = [("authorization", self.bearer.as_str())];
        let pieces = self.http.download(path, &headers).await;
        let pieces = pieces.map_err(unreachable)?;
        match pieces.status.is_success() {
            true => Ok(pieces),
            false => Err(ended(format!("the daemon refuses: {}", pieces.status))),
        }
    }

    /// The event stream.
    pub(super) async fn events(&self, after: Option<u64>) -> Result<Lines, NodeError> {
        let path = match after {
            Some(after) => format!("/v1/events?after={after}"),
            None => "/v1/events".to_owned(),
        };
        let headers = [
            ("authorization", self.bearer.as_str()),
            ("accept", "text/event-stream"),
        ];
        let lines = self.http.stream(&path, &headers).await;
        let lines = lines.map_err(unreachable)?;
        match lines.status.is_success() {
            true => Ok(lines),
            false => Err(ended(format!("the daemon refuses: {}", lines.status))),
        }
    }
}

fn success(answer: Answer) -> Result<Answer, NodeError> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    match serde_json::from_slice::<ProblemBody>(&answer.body) {
        Ok(problem) => Err(ended(problem.detail)),
        Err(_) => Err(ended(format!("the daemon answered {}", answer.status))),
    }
}

fn pick(contacts: Vec<Contact>, wanted: &str) -> Result<Contact, NodeError> {
    let fits = |c: &Contact| c.id == wanted || c.name == wanted;
    let mut found = contacts.into_iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(ended(format!(
            "more than one contact calls themselves {wanted}; use the id, see `clientd contacts`"
        ))),
        (None, _) => Err(ended(format!(
            "no contact {wanted}; see `clientd contacts`"
        ))),
    }
}

/// What somebody else wrote, for a terminal: control characters could drive it.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && c != '\n' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}

pub(super) fn decode<T: DeserializeOwned>(answer: &Answer) -> Result<T, NodeError> {
    serde_json::from_slice(&answer.body)
        .map_err(|_| ended("the daemon's answer cannot be read; is it another version?".to_owned()))
}

pub(super) fn unreachable(error: HttpClientError) -> NodeError {
    ended(format!(
        "the daemon does not answer ({error}); is it running?"
    ))
}

pub(super) fn ended(text: String) -> NodeError {
    NodeError::Ended(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(id: &str, name: &str) -> Contact {
        Contact {
            id: id.into(),
            name: name.into(),
            verified: false,
            established: true,
            favourite: false,
            receipts: true,
            retention_seconds: 0,
            waiting: 0,
        }
    }

    #[test]
    fn a_name_must_be_clear() {
        let list = || {
            vec![
                contact("1", "bob"),
                contact("2", "bob"),
                contact("3", "eve"),
            ]
        };
        assert_eq!(pick(list(), "eve").unwrap().id, "3");
        assert_eq!(pick(list(), "2").unwrap().id, "2");
        assert!(pick(list(), "bob").is_err() && pick(list(), "joe").is_err());
    }

    #[test]
    fn a_message_cannot_drive_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\nc");
    }
}
