//! Answers to applications about applications: who they are, what they may, how far they have read.

use super::EventLoop;
use crate::api::problem::Problem;
use crate::api::types::{Acknowledged, AppMade, AppView, Apps, NewApp, Scope};
use crate::apps::{APPS_MAX, App, NAME_MAX, OWNER, Place, TOKEN_PREFIX};
use crate::commands::{Reply, Told};
use messaging::ContactId;
use runtime::entropy::Entropy;
use std::collections::BTreeSet;
use zeroize::Zeroizing;

impl EventLoop {
    pub(super) fn acknowledge(&mut self, through: u64, by: Option<&App>) -> Reply {
        let id = by.map_or(OWNER, |app| app.id);
        let writes = &mut self.state.writes;
        if !self.history.acknowledge(id, through, writes) {
            let detail = "there is no such event yet";
            return Err(Problem::new("bad_position", detail));
        }
        let place = self.history.roster().place(id).unwrap_or_default();
        let acknowledged = place.acknowledged;
        Ok(Told::json(200, &Acknowledged { acknowledged }))
    }

    pub(super) fn new_app(&mut self, new: NewApp) -> Reply {
        let named = (1..=NAME_MAX).contains(&new.name.len());
        if !named || new.name.chars().any(char::is_control) {
            let detail = "a name has 1 to 64 bytes and no control characters";
            return Err(Problem::new("bad_name", detail));
        }
        if new.scopes.is_empty() {
            return Err(Problem::new("bad_scopes", "name at least one scope"));
        }
        if self.history.roster().len() >= APPS_MAX {
            let detail = format!("there are {APPS_MAX} applications; revoke one");
            return Err(Problem::new("too_many_apps", detail));
        }
        let contacts = new.contacts.map(|list| self.contacts_of(&list));
        let contacts = contacts.transpose()?;
        let seed = Entropy::os().seed().map_err(|_| Problem::busy())?;
        let random = Zeroizing::new(directory::hex::encode(&*seed));
        let token = format!("{TOKEN_PREFIX}{}", *random);
        let id = self.history.roster().next_id();
        let unix = self.clock.unix();
        let scopes = new.scopes.into_iter().collect();
        let app = App::new(id, new.name, scopes, contacts, &token, unix);
        let writes = &mut self.state.writes;
        let app = self.history.add_app(app, new.from_start, writes);
        let place = self.history.roster().place(id).unwrap_or_default();
        let app = view(&app, place);
        Ok(Told::json(201, &AppMade { token, app }))
    }

    fn contacts_of(&self, list: &[String]) -> Result<BTreeSet<ContactId>, Problem> {
        let known: BTreeSet<ContactId> = self.messenger.contacts().map(|c| c.contact).collect();
        let parse = |text: &String| {
            let detail = "a contact's id has 32 lower-case hex digits";
            let id = ContactId::from_hex(text);
            let id = id.ok_or_else(|| Problem::new("bad_contact_id", detail))?;
            known
                .contains(&id)
                .then_some(id)
                .ok_or_else(Problem::unknown_contact)
        };
        list.iter().map(parse).collect()
    }

    pub(super) fn apps(&self, after: u32, limit: usize) -> Apps {
        let behind = self
            .history
            .roster()
            .apps()
            .filter(|(app, _)| app.id > after);
        let page = behind.take(limit + 1).map(|(app, place)| view(app, place));
        let mut apps: Vec<AppView> = page.collect();
        let more = apps.len() > limit;
        apps.truncate(limit);
        let next = apps.last().filter(|_| more).map(|app| app.id.to_string());
        Apps { apps, next }
    }

    pub(super) fn app(&self, id: u32) -> Reply {
        let roster = self.history.roster();
        let place = roster.place(id).ok_or_else(unknown)?;
        let shown = match roster.app(id) {
            Some(app) => view(app, place),
            None => self.owner(place),
        };
        Ok(Told::json(200, &shown))
    }

    fn owner(&self, place: Place) -> AppView {
        AppView {
            id: OWNER,
            name: self.name.clone(),
            scopes: Scope::ALL.into(),
            contacts: None,
            created_ms: 0,
            last_call_ms: None,
            acknowledged: place.acknowledged,
            missed: place.missed,
        }
    }

    pub(super) fn revoke_app(&mut self, id: u32) -> Reply {
        let writes = &mut self.state.writes;
        match self.history.revoke(id, writes) {
            true => Ok(Told::nothing(204)),
            false => Err(unknown()),
        }
    }
}

fn unknown() -> Problem {
    Problem::new("unknown_app", "no such application; see GET /v1/apps")
}

fn view(app: &App, place: Place) -> AppView {
    let contacts = app.contacts.as_ref();
    AppView {
        id: app.id,
        name: app.name.clone(),
        scopes: app.scopes.clone(),
        contacts: contacts.map(|c| c.iter().map(ToString::to_string).collect()),
        created_ms: app.created.0,
        last_call_ms: app.last_call().map(|at| at.0),
        acknowledged: place.acknowledged,
        missed: place.missed,
    }
}
