//! Applications and how far each has read: who may use the API besides the owner of the data folder,
//! with what right. Pure; [`crate::history`] writes it down, `api::gate` asks it.
//!
//! A token is kept as its SHA-256 alone: it has 256 bits of the operating system's randomness, so
//! nothing slower is needed to keep it unguessable from the store.

use crate::api::types::Scope;
use messaging::ContactId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::{ClientStore, StoreError, Write};
use subtle::ConstantTimeEq;
use wire::time::UnixTime;
use zeroize::Zeroizing;

/// Applications by number, as JSON; one row more for the next number.
pub(crate) const TABLE_APPS: u8 = 66;
/// How far each has read.
pub(crate) const TABLE_PLACES: u8 = 67;

/// Most applications; one more is refused.
pub(crate) const APPS_MAX: usize = 64;
/// Longest name in bytes.
pub(crate) const NAME_MAX: usize = 64;
/// What a token begins with, so that one that leaked is recognised.
pub(crate) const TOKEN_PREFIX: &str = "mzl_";

/// The owner: whoever can read the data folder. Applications are counted from 1.
pub(crate) const OWNER: u32 = 0;

/// An application.
pub(crate) struct App {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) scopes: BTreeSet<Scope>,
    /// The only contacts that exist for it; `None`: all.
    pub(crate) contacts: Option<BTreeSet<ContactId>>,
    pub(crate) created: UnixTime,
    token_hash: [u8; 32],
    /// In milliseconds since 1970; 0 before the first since the start. In memory only.
    last_call: AtomicU64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    scopes: BTreeSet<Scope>,
    contacts: Option<Vec<String>>,
    created_ms: u64,
    token_hash: String,
}

impl App {
    /// A new one; its token was shown to whoever asked.
    pub(crate) fn new(
        id: u32,
        name: String,
        scopes: BTreeSet<Scope>,
        contacts: Option<BTreeSet<ContactId>>,
        token: &str,
        created: UnixTime,
    ) -> Self {
        Self {
            id,
            name,
            scopes,
            contacts,
            created,
            token_hash: hash(token),
            last_call: AtomicU64::new(0),
        }
    }

    pub(crate) fn sees(&self, contact: Option<&ContactId>) -> bool {
        match (&self.contacts, contact) {
            (None, _) => true,
            (Some(allowed), Some(contact)) => allowed.contains(contact),
            // What belongs to no contact is for those who see all.
            (Some(_), None) => false,
        }
    }

    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    pub(crate) fn called(&self, unix: UnixTime) {
        self.last_call.store(unix.0, Ordering::Relaxed);
    }

    pub(crate) fn last_call(&self) -> Option<UnixTime> {
        Some(self.last_call.load(Ordering::Relaxed))
            .filter(|at| *at > 0)
            .map(UnixTime)
    }

    fn row(&self) -> Write {
        let contacts = self.contacts.as_ref();
        let stored = Stored {
            name: self.name.clone(),
            scopes: self.scopes.clone(),
            contacts: contacts.map(|c| c.iter().map(ToString::to_string).collect()),
            created_ms: self.created.0,
            token_hash: directory::hex::encode(&self.token_hash),
        };
        let json = serde_json::to_vec(&stored).expect("strings and numbers are always JSON");
        write(TABLE_APPS, &self.id.to_be_bytes(), Some(json))
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let id = u32::from_be_bytes(key.try_into().ok()?);
        let stored: Stored = serde_json::from_slice(value).ok()?;
        let contacts = match stored.contacts {
            None => None,
            Some(list) => Some(
                list.iter()
                    .map(|c| ContactId::from_hex(c))
                    .collect::<Option<_>>()?,
            ),
        };
        Some(Self {
            id,
            name: stored.name,
            scopes: stored.scopes,
            contacts,
            created: UnixTime(stored.created_ms),
            token_hash: directory::hex::decode(&stored.token_hash)?,
            last_call: AtomicU64::new(0),
        })
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn write(table: u8, key: &[u8], value: Option<Vec<u8>>) -> Write {
    Write {
        table,
        key: key.to_vec(),
        value: value.map(Zeroizing::new),
        vault: None,
    }
}

/// How far somebody has read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Place {
    /// The last event that was acknowledged.
    pub(crate) acknowledged: u64,
    /// Events after it that were dropped at a limit.
    pub(crate) missed: u64,
}

/// Everybody who reads, as it is durable. Cheap enough to clone at every change.
#[derive(Clone, Default)]
pub(crate) struct Roster {
    apps: BTreeMap<u32, (Arc<App>, Place)>,
    owner: Place,
    /// Whether events wait for the owner too.
    owner_listens: bool,
    last_id: u32,
}

const LAST_ID_KEY: &[u8] = b"last";

impl Roster {
    pub(crate) fn restore(store: &ClientStore, owner_listens: bool) -> Result<Self, StoreError> {
        let mut roster = Self {
            owner_listens,
            ..Self::default()
        };
        let damaged = |what: &str| StoreError::Damaged { what: what.into() };
        for (key, value) in store.scan(TABLE_APPS)? {
            if key == LAST_ID_KEY {
                let bytes = value[..].try_into();
                let bytes = bytes.map_err(|_| damaged("an impossible application number"))?;
                roster.last_id = u32::from_be_bytes(bytes);
                continue;
            }
            let app = App::decode(&key, &value);
            let app = app.ok_or_else(|| damaged("an application's row cannot be read"))?;
            roster
                .apps
                .insert(app.id, (Arc::new(app), Place::default()));
        }
        for (key, value) in store.scan(TABLE_PLACES)? {
            let place = decode_place(&key, &value);
            let (id, place) = place.ok_or_else(|| damaged("a reader's place cannot be read"))?;
            if let Some(known) = roster.place_mut(id) {
                *known = place;
            }
        }
        Ok(roster)
    }

    pub(crate) fn apps(&self) -> impl Iterator<Item = (&Arc<App>, Place)> {
        self.apps.values().map(|(app, place)| (app, *place))
    }

    pub(crate) fn len(&self) -> usize {
        self.apps.len()
    }

    pub(crate) fn app(&self, id: u32) -> Option<&Arc<App>> {
        self.apps.get(&id).map(|(app, _)| app)
    }

    /// The application that this token belongs to.
    pub(crate) fn by_token(&self, token: &str) -> Option<&Arc<App>> {
        let given = hash(token);
        let fits = |app: &&Arc<App>| bool::from(app.token_hash.ct_eq(&given));
        self.apps.values().map(|(app, _)| app).find(fits)
    }

    /// How far the owner or an application has read.
    pub(crate) fn place(&self, id: u32) -> Option<Place> {
        match id {
            OWNER => Some(self.owner),
            app => self.apps.get(&app).map(|(_, place)| *place),
        }
    }

    fn place_mut(&mut self, id: u32) -> Option<&mut Place> {
        match id {
            OWNER => Some(&mut self.owner),
            app => self.apps.get_mut(&app).map(|(_, place)| place),
        }
    }

    /// Changes a place, with its row.
    pub(crate) fn set_place(&mut self, id: u32, place: Place, writes: &mut Vec<Write>) {
        if let Some(known) = self.place_mut(id) {
            *known = place;
            let value = [place.acknowledged.to_be_bytes(), place.missed.to_be_bytes()].concat();
            writes.push(write(TABLE_PLACES, &id.to_be_bytes(), Some(value)));
        }
    }

    /// Those for whom an event about `contact` is kept until they acknowledge it.
    pub(crate) fn readers(&self, contact: Option<ContactId>) -> impl Iterator<Item = (u32, Place)> {
        let owner = self.owner_listens.then_some((OWNER, self.owner));
        let apps = self
            .apps
            .values()
            .filter(move |(app, _)| app.may(Scope::MessagesRead) && app.sees(contact.as_ref()));
        owner
            .into_iter()
            .chain(apps.map(|(app, place)| (app.id, *place)))
    }

    /// The number of an application that is not there yet; never used twice.
    pub(crate) fn next_id(&self) -> u32 {
        self.last_id + 1
    }

    /// Takes in an application with [`Roster::next_id`].
    pub(crate) fn insert(&mut self, app: App, place: Place, writes: &mut Vec<Write>) -> Arc<App> {
        let app = Arc::new(app);
        self.last_id = self.last_id.max(app.id);
        let last = self.last_id.to_be_bytes().to_vec();
        writes.push(write(TABLE_APPS, LAST_ID_KEY, Some(last)));
        writes.push(app.row());
        self.apps.insert(app.id, (app.clone(), place));
        self.set_place(app.id, place, writes);
        app
    }

    /// Forgets an application; whether there was one.
    pub(crate) fn remove(&mut self, id: u32, writes: &mut Vec<Write>) -> bool {
        let found = self.apps.remove(&id).is_some();
        if found {
            writes.push(write(TABLE_APPS, &id.to_be_bytes(), None));
            writes.push(write(TABLE_PLACES, &id.to_be_bytes(), None));
        }
        found
    }
}

fn decode_place(key: &[u8], value: &[u8]) -> Option<(u32, Place)> {
    let id = u32::from_be_bytes(key.try_into().ok()?);
    let (acknowledged, missed) = value.split_first_chunk::<8>()?;
    let missed: [u8; 8] = missed.try_into().ok()?;
    let place = Place {
        acknowledged: u64::from_be_bytes(*acknowledged),
        missed: u64::from_be_bytes(missed),
    };
    Some((id, place))
}
