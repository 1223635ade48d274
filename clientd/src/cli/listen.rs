//! `clientd listen`: messages as they come. What was printed is acknowledged, so that the daemon can
//! erase it; `--keep` leaves it.

use super::say;
use super::talk::{Talk, ended, printable, unreachable};
use crate::api::types::{ApiEvent, EventRecord};
use runtime::http_client::Method;
use runtime::node::NodeError;
use serde_json::json;
use std::time::Duration;

/// Events that were printed are acknowledged together after so long.
const GATHER: Duration = Duration::from_millis(250);

pub(super) async fn listen(
    talk: &Talk,
    as_json: bool,
    after: Option<u64>,
    keep: bool,
) -> Result<(), NodeError> {
    let mut lines = talk.events(after).await?;
    let mut printed = None;
    loop {
        let line = match printed.filter(|_| !keep) {
            None => lines.next().await,
            Some(through) => match tokio::time::timeout(GATHER, lines.next()).await {
                Ok(line) => line,
                Err(_) => {
                    acknowledge(talk, through).await?;
                    printed = None;
                    continue;
                }
            },
        };
        let Some(line) = line.map_err(unreachable)? else {
            return Err(ended("the daemon ended".to_owned()));
        };
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let record = serde_json::from_str::<EventRecord>(data);
        if as_json {
            say(data)?;
        } else if let Ok(record) = &record {
            tell(&record.event)?;
        }
        // What a newer daemon tells is acknowledged with the next that is known.
        if let Ok(record) = record {
            printed = Some(record.cursor);
        }
    }
}

async fn acknowledge(talk: &Talk, through: u64) -> Result<(), NodeError> {
    let body = Some(json!({ "through": through }));
    let answer = talk.request(Method::POST, "/v1/events/ack", body).await;
    answer.map(|_| ())
}

fn tell(event: &ApiEvent) -> Result<(), NodeError> {
    match event {
        ApiEvent::MessageReceived {
            name,
            text,
            file,
            contact,
            message_id,
            ..
        } => {
            if !text.is_empty() {
                say(&format!("{}: {}", printable(name), printable(text)))?;
            }
            match file {
                None => Ok(()),
                Some(file) => say(&format!(
                    "* {} offers the file {}, {} bytes; large ones must be accepted: \
                     `clientd files accept {contact} {message_id}`",
                    printable(name),
                    printable(&file.name),
                    file.size
                )),
            }
        }
        ApiEvent::ContactAdded { name, contact, .. } => say(&format!(
            "* {} is a contact now ({contact}, unverified)",
            printable(name)
        )),
        ApiEvent::InviteExpired { .. } => say("* a card of yours expired unused"),
        ApiEvent::Gap { missed } => say(&format!("* {missed} older events are no longer kept")),
        ApiEvent::FileReceived { file, blob, .. } => say(&format!(
            "* the file {} is here: `clientd files save {blob}`",
            printable(&file.name)
        )),
        ApiEvent::FileFailed { reason, .. } => say(&format!("* a file failed: {reason}")),
        ApiEvent::MessageState { state, reason, .. } if state == "failed" || state == "expired" => {
            let why = reason.as_deref().unwrap_or("not in time");
            say(&format!("* a message of yours was given up: {why}"))
        }
        ApiEvent::MessageState { .. }
        | ApiEvent::InviteUsed { .. }
        | ApiEvent::FileProgress { .. } => Ok(()),
    }
}
