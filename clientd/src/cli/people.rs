//! The verbs about contacts, texts and the daemon itself.

use super::talk::{Talk, decode, printable};
use super::{Change, say};
use crate::api::types::{CardMade, Contact, Health, Message, Status};
use runtime::entropy::os_seed;
use runtime::http_client::Method;
use runtime::node::NodeError;
use serde_json::{Value, json};

pub(super) async fn card(talk: &Talk, name: Option<&str>) -> Result<(), NodeError> {
    let body = json!({ "name": name });
    let made: CardMade = talk.ask(Method::POST, "/v1/cards", Some(body)).await?;
    say(&made.card)
}

pub(super) async fn add(talk: &Talk, card: &str, name: Option<&str>) -> Result<(), NodeError> {
    let body = json!({ "card": card, "name": name });
    let added: Contact = talk.ask(Method::POST, "/v1/contacts", Some(body)).await?;
    say(&format!("added {} ({})", printable(&added.name), added.id))
}

pub(super) async fn contacts(talk: &Talk, as_json: bool) -> Result<(), NodeError> {
    let list = talk.all_contacts().await?;
    if as_json {
        let lines = list
            .iter()
            .map(|c| serde_json::to_string(c).unwrap_or_default());
        return lines.into_iter().try_for_each(|line| say(&line));
    }
    if list.is_empty() {
        return say("no contacts yet: `clientd card` for others, `clientd add CARD` for theirs");
    }
    for c in list {
        let trust = if c.verified { "verified" } else { "unverified" };
        let star = if c.favourite { ", favourite" } else { "" };
        let name = printable(&c.name);
        let line = format!("{}  {name}  {trust}{star}, {} waiting", c.id, c.waiting);
        say(&line)?;
    }
    Ok(())
}

pub(super) async fn change(talk: &Talk, change: &Change) -> Result<(), NodeError> {
    let to = talk.contact(&change.contact).await?;
    let body = json!({
        "name": change.name, "verified": change.verified,
        "favourite": change.favourite, "receipts": change.receipts,
        "retention_seconds": change.retention_days.map(|days| days.saturating_mul(86_400)),
    });
    let path = format!("/v1/contacts/{}", to.id);
    let now: Contact = talk.ask(Method::PATCH, &path, Some(body)).await?;
    let name = printable(&now.name);
    say(&format!(
        "{name}: verified {}, favourite {}, receipts {}",
        now.verified, now.favourite, now.receipts
    ))
}

pub(super) async fn remove(talk: &Talk, contact: &str) -> Result<(), NodeError> {
    let to = talk.contact(contact).await?;
    let path = format!("/v1/contacts/{}", to.id);
    talk.request(Method::DELETE, &path, None).await?;
    say(&format!(
        "{} and all that was said are gone",
        printable(&to.name)
    ))
}

/// Wipes a conversation, or with no contact everything.
pub(super) async fn wipe(talk: &Talk, contact: Option<&str>) -> Result<(), NodeError> {
    let Some(contact) = contact else {
        let body = json!({ "confirm": "everything" });
        talk.request(Method::POST, "/v1/wipe", Some(body)).await?;
        return say("the daemon ends and destroys its keys, contacts, messages and files");
    };
    let to = talk.contact(contact).await?;
    let path = format!("/v1/contacts/{}/messages", to.id);
    talk.request(Method::DELETE, &path, None).await?;
    say(&format!(
        "all that was said with {} is gone",
        printable(&to.name)
    ))
}

/// A fresh name for a message.
pub(super) fn message_id() -> Result<String, NodeError> {
    Ok(directory::hex::encode(&os_seed()?[..8]))
}

/// Sends what `body` says; the message's path.
pub(super) async fn send(talk: &Talk, to: &Contact, body: Value) -> Result<String, NodeError> {
    let id = message_id()?;
    let path = format!("/v1/contacts/{}/messages/{id}", to.id);
    let message: Message = talk.ask(Method::PUT, &path, Some(body)).await?;
    let name = printable(&to.name);
    say(&format!("{} for {name} (message {id})", message.state))?;
    Ok(path)
}

pub(super) async fn status(talk: &Talk, as_json: bool) -> Result<(), NodeError> {
    if as_json {
        let answer = talk.request(Method::GET, "/v1/status", None).await?;
        return say(&String::from_utf8_lossy(&answer.body));
    }
    let status: Status = talk.ask(Method::GET, "/v1/status", None).await?;
    let answer = talk.exchange(Method::GET, "/v1/health", None).await?;
    let health: Health = decode(&answer)?;
    lines(&status, &health)
        .iter()
        .try_for_each(|line| say(line))
}

fn lines(s: &Status, health: &Health) -> Vec<String> {
    let mut lines = vec![
        (if health.ready { "ready" } else { "not ready" }).to_owned(),
        format!("connected: {}", if s.connected { "yes" } else { "no" }),
        format!("entry gateway: {}", s.guard.gateway),
    ];
    lines.push(match &s.directory {
        Some(d) => format!(
            "directory: epoch {}, {} s old, good for {} s",
            d.epoch, d.age_seconds, d.valid_for_seconds
        ),
        None => "directory: none".to_owned(),
    });
    let q = &s.queues;
    lines.push(format!(
        "inboxes: {} of {} open",
        q.inboxes_open, q.inboxes_wanted
    ));
    lines.push(format!(
        "waiting: {}, on their way: {}",
        q.outbox_waiting, q.outbox_on_their_way
    ));
    if let Some(d) = &s.expected_delay {
        let seconds = |ms: u64| ms as f64 / 1_000.0;
        lines.push(format!(
            "a message takes {:.1} s in the mean, one in a hundred more than {:.1} s",
            seconds(d.mean_ms),
            seconds(d.p99_ms)
        ));
        lines.push(format!(
            "up to {} contacts keep that below {:.0} s",
            d.contacts_ceiling,
            seconds(d.ceiling_for_ms)
        ));
    }
    if let Some(a) = &s.anonymity {
        lines.push(match a.needs_others {
            true => format!(
                "hidden well from {:.0} clients online on",
                a.clients_for_floor
            ),
            false => "hidden well whoever else is online".to_owned(),
        });
    }
    lines.push(format!(
        "packets: {} sent, {} discarded",
        s.packets_sent, s.packets_discarded
    ));
    let rate = &s.bytes_per_second;
    lines.push(format!(
        "link: {} bytes/s up, {} down, always",
        rate.up, rate.down
    ));
    let (kept, bytes) = (s.events_kept, s.events_bytes);
    lines.push(format!(
        "events: {kept} not acknowledged by all, {bytes} bytes"
    ));
    let (used, most) = (s.files_bytes, s.files_bytes_max);
    lines.push(format!("files: {used} of {most} bytes"));
    if q.files_out > 0 {
        lines.push(format!(
            "files to others: {}, of which {} go now and {} wait for their turn",
            q.files_out, q.files_sending, q.files_waiting
        ));
    }
    for g in &s.gateways {
        lines.push(format!(
            "gateway {}: {} sent, {} returned, {} late, {} lost",
            g.gateway, g.sent, g.returned, g.late, g.lost
        ));
    }
    lines.extend(s.alarms.iter().map(|alarm| format!("ALARM: {alarm}")));
    lines
}
