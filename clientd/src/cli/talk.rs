//! The verbs for people: each talks to the running daemon through its API, as any application would.

use super::say;
use crate::api::types::{
    ApiEvent, CardMade, Contact, Contacts, Health, Message, ProblemBody, Status,
};
use crate::token::{ADDRESS_FILE, TOKEN_FILE};
use runtime::entropy::os_seed;
use runtime::http_client::{Answer, HttpClient, HttpClientError, Method};
use runtime::node::NodeError;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::Path;
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

    pub(super) async fn card(&self, name: Option<&str>) -> Result<(), NodeError> {
        let body = json!({ "name": name });
        let made: CardMade = self.ask(Method::POST, "/v1/cards", Some(body)).await?;
        say(&made.card)
    }

    pub(super) async fn add(&self, card: &str, name: Option<&str>) -> Result<(), NodeError> {
        let body = json!({ "card": card, "name": name });
        let added: Contact = self.ask(Method::POST, "/v1/contacts", Some(body)).await?;
        say(&format!("added {} ({})", printable(&added.name), added.id))
    }

    pub(super) async fn contacts(&self) -> Result<(), NodeError> {
        let list: Contacts = self.ask(Method::GET, "/v1/contacts", None).await?;
        if list.contacts.is_empty() {
            return say(
                "no contacts yet: `clientd card` for others, `clientd add CARD` for theirs",
            );
        }
        for c in list.contacts {
            let trust = if c.verified { "verified" } else { "unverified" };
            let name = printable(&c.name);
            say(&format!("{}  {name}  {trust}, {} waiting", c.id, c.waiting))?;
        }
        Ok(())
    }

    pub(super) async fn send(&self, contact: &str, text: &str) -> Result<(), NodeError> {
        let list: Contacts = self.ask(Method::GET, "/v1/contacts", None).await?;
        let to = pick(list.contacts, contact)?;
        let id = directory::hex::encode(&os_seed()?[..8]);
        let path = format!("/v1/contacts/{}/messages/{id}", to.id);
        let body = Some(json!({ "text": text }));
        let message: Message = self.ask(Method::PUT, &path, body).await?;
        say(&format!(
            "{} for {} (message {id})",
            message.state,
            printable(&to.name)
        ))
    }

    pub(super) async fn status(&self, json: bool) -> Result<(), NodeError> {
        if json {
            let answer = self.request(Method::GET, "/v1/status", None).await?;
            return say(&String::from_utf8_lossy(&answer.body));
        }
        let s: Status = self.ask(Method::GET, "/v1/status", None).await?;
        let answer = self.exchange(Method::GET, "/v1/health", None).await?;
        let health: Health = decode(&answer)?;
        say(if health.ready { "ready" } else { "not ready" })?;
        say(&format!(
            "connected: {}",
            if s.connected { "yes" } else { "no" }
        ))?;
        match s.directory {
            Some(d) => say(&format!(
                "directory: epoch {}, {} s old, good for {} s",
                d.epoch, d.age_seconds, d.valid_for_seconds
            ))?,
            None => say("directory: none")?,
        }
        let q = &s.queues;
        say(&format!(
            "inboxes: {} of {} open",
            q.inboxes_open, q.inboxes_wanted
        ))?;
        say(&format!(
            "waiting: {}, on their way: {}",
            q.outbox_waiting, q.outbox_on_their_way
        ))?;
        say(&format!(
            "packets: {} sent, {} discarded",
            s.packets_sent, s.packets_discarded
        ))?;
        let rate = &s.bytes_per_second;
        say(&format!(
            "link: {} bytes/s up, {} down, always",
            rate.up, rate.down
        ))?;
        for g in &s.gateways {
            say(&format!(
                "gateway {}: {} sent, {} returned, {} late, {} lost",
                g.gateway, g.sent, g.returned, g.late, g.lost
            ))?;
        }
        s.alarms
            .iter()
            .try_for_each(|alarm| say(&format!("ALARM: {alarm}")))
    }

    pub(super) async fn listen(&self, json: bool, after: Option<u64>) -> Result<(), NodeError> {
        let path = match after {
            Some(after) => format!("/v1/events?after={after}"),
            None => "/v1/events".to_owned(),
        };
        let headers = [("authorization", self.bearer.as_str())];
        let mut lines = self
            .http
            .stream(&path, &headers)
            .await
            .map_err(unreachable)?;
        if !lines.status.is_success() {
            return Err(ended(format!("the daemon refuses: {}", lines.status)));
        }
        while let Some(line) = lines.next().await.map_err(unreachable)? {
            let Some(data) = line.strip_prefix("data: ") else {
                continue;
            };
            if json {
                say(data)?;
            } else if let Ok(event) = serde_json::from_str::<ApiEvent>(data) {
                tell(&event)?;
            }
        }
        Err(ended("the daemon ended".to_owned()))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<T, NodeError> {
        decode(&self.request(method, path, body).await?)
    }

    /// A request whose answer must be a success.
    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, NodeError> {
        let answer = self.exchange(method, path, body).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        match serde_json::from_slice::<ProblemBody>(&answer.body) {
            Ok(problem) => Err(ended(problem.detail)),
            Err(_) => Err(ended(format!("the daemon answered {}", answer.status))),
        }
    }

    async fn exchange(
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
}

/// The one contact of that id or name.
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

fn tell(event: &ApiEvent) -> Result<(), NodeError> {
    match event {
        ApiEvent::MessageReceived { name, text, .. } => {
            say(&format!("{}: {}", printable(name), printable(text)))
        }
        ApiEvent::ContactAdded { name, contact, .. } => say(&format!(
            "* {} is a contact now ({contact}, unverified)",
            printable(name)
        )),
        ApiEvent::InviteExpired { .. } => say("* a card of yours expired unused"),
        ApiEvent::Gap { missed } => say(&format!("* {missed} older events are no longer kept")),
        ApiEvent::MessageState { .. } | ApiEvent::InviteUsed { .. } => Ok(()),
    }
}

/// What somebody else wrote, for a terminal: control characters could drive it.
fn printable(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && c != '\n' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}

fn decode<T: DeserializeOwned>(answer: &Answer) -> Result<T, NodeError> {
    serde_json::from_slice(&answer.body)
        .map_err(|_| ended("the daemon's answer cannot be read; is it another version?".to_owned()))
}

fn unreachable(error: HttpClientError) -> NodeError {
    ended(format!(
        "the daemon does not answer ({error}); is it running?"
    ))
}

fn ended(text: String) -> NodeError {
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
