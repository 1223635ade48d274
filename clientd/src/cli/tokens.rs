//! The verbs about applications and their tokens.

use super::talk::{Talk, printable};
use super::{TokensVerb, say};
use crate::api::types::{AppMade, Apps};
use runtime::http_client::Method;
use runtime::node::NodeError;
use serde_json::json;

pub(super) async fn tokens(talk: &Talk, verb: &TokensVerb) -> Result<(), NodeError> {
    match verb {
        TokensVerb::List => list(talk).await,
        TokensVerb::New {
            name,
            scope,
            contact,
            from_start,
        } => {
            let mut contacts = Vec::new();
            for wanted in contact {
                contacts.push(talk.contact(wanted).await?.id);
            }
            let contacts = (!contacts.is_empty()).then_some(contacts);
            let body = json!({
                "name": name, "scopes": scope, "contacts": contacts, "from_start": from_start,
            });
            let made: AppMade = talk.ask(Method::POST, "/v1/apps", Some(body)).await?;
            // Alone on its line, so that a script can take it.
            say(&made.token)
        }
        TokensVerb::Revoke { id } => {
            let path = format!("/v1/apps/{id}");
            talk.request(Method::DELETE, &path, None).await?;
            say("revoked")
        }
    }
}

async fn list(talk: &Talk) -> Result<(), NodeError> {
    let mut path = "/v1/apps?limit=200".to_owned();
    loop {
        let page: Apps = talk.ask(Method::GET, &path, None).await?;
        for app in page.apps {
            let scopes: Vec<&str> = app.scopes.iter().map(|s| s.name()).collect();
            let only = app
                .contacts
                .map_or(String::new(), |c| format!(", {} contacts only", c.len()));
            let (name, read) = (printable(&app.name), app.acknowledged);
            let scopes = scopes.join(" ");
            say(&format!(
                "{}  {name}  {scopes}{only}, read to {read}",
                app.id
            ))?;
        }
        match page.next {
            Some(next) => path = format!("/v1/apps?limit=200&cursor={next}"),
            None => return Ok(()),
        }
    }
}
