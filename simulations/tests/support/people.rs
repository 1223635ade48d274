//! People in virtual time: the shipped `Messenger` as the owner of the shipped `Client`, with a disk
//! that is always as far as it was told.

use messaging::{
    BlobRef, ClientMessageId, ContactId, DepositHandle, DepositOutcome, Draft, Event,
    FILE_RECORD_LEN, FileDraft, FlowKind, InboxClass, InboxOutcome, MessageId, MessageState,
    Messenger, MessengerConfig, Order, Record, Table,
};
use mizzle_core::client::{ClientEvent, DepositOrder, FetchClass, Flow, FlowClass, OpenOrder};
use sha2::{Digest, Sha256};
use simulations::Engine;
use sphinx::PacketFormat;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::ids::{DirectoryHash, NodeId};
use wire::keys::IdentitySecret;
use wire::rng::KeyRng;
use wire::time::{Instant, UnixTime};

/// Owners look up so often.
const STEP: Duration = Duration::from_millis(10);

/// The owner of one client.
pub(crate) struct Person {
    client: usize,
    pub(crate) messenger: Messenger,
    directory: Option<(DirectoryHash, NodeId)>,
    /// What its disk holds.
    rows: BTreeMap<(Table, Vec<u8>), Record>,
    /// Counts its processes.
    incarnation: u8,
    /// Texts that came, and when.
    pub(crate) received: Vec<(Instant, String)>,
    /// Outgoing messages: how far, and since when.
    pub(crate) states: BTreeMap<String, (MessageState, Instant)>,
    /// The one file that is sent.
    blob: Vec<u8>,
    /// Records that came, whatever file they are of.
    pub(crate) records: BTreeMap<u32, Vec<u8>>,
    accepts: bool,
    /// Cells that were ignored, by reason.
    pub(crate) ignored: BTreeMap<String, usize>,
}

/// A network with people.
pub(crate) struct People<F: PacketFormat> {
    pub(crate) engine: Engine<F>,
    pub(crate) persons: Vec<Person>,
}

impl<F: PacketFormat> People<F> {
    /// The first `count` clients belong to people.
    pub(crate) fn new(mut engine: Engine<F>, count: usize) -> Self {
        engine.run_for(Duration::from_secs(3));
        let network = engine.authority().network.id().to_owned();
        let person = |client: usize| Person {
            client,
            messenger: Messenger::new(
                MessengerConfig::new(network),
                KeyRng::from_seed([client as u8 + 1; 32]),
            ),
            directory: None,
            rows: BTreeMap::new(),
            incarnation: 0,
            received: Vec::new(),
            states: BTreeMap::new(),
            blob: Vec::new(),
            records: BTreeMap::new(),
            accepts: true,
            ignored: BTreeMap::new(),
        };
        let persons: Vec<Person> = (0..count).map(person).collect();
        let mut people = Self { engine, persons };
        for i in 0..count {
            people.engine.take_mail(i);
            people.tend(i);
        }
        people
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.engine.now() + time;
        while self.engine.now() < end {
            let next = (self.engine.now() + STEP).min(end);
            self.engine.run_until(next);
            for i in 0..self.persons.len() {
                self.tend(i);
            }
        }
    }

    /// Lets time pass until something is so, at most `time`; whether it is.
    pub(crate) fn run_until(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.engine.now() + time;
        while !done(self) && self.engine.now() < end {
            self.run_for(STEP);
        }
        done(self)
    }

    fn now(&self, who: usize) -> (Instant, UnixTime) {
        let now = self.engine.now();
        let client = &self.engine.clients()[self.persons[who].client];
        (now, client.sut.view().unix_at(now))
    }

    /// Whoever they are to others.
    pub(crate) fn id(&self, who: usize) -> ContactId {
        ContactId::of(&self.persons[who].messenger.identity())
    }

    /// Bob adds Alice's card. The rest takes some seconds.
    pub(crate) fn introduce(&mut self, alice: usize, bob: usize) {
        let (now, unix) = self.now(alice);
        let day = Duration::from_secs(86_400);
        let machine = &mut self.persons[alice].messenger;
        let card = machine.handle_create_card("Alice", day, now, unix).unwrap();
        self.tend(alice);
        let (now, unix) = self.now(bob);
        let machine = &mut self.persons[bob].messenger;
        machine.handle_add_card(&card, "Bob", now, unix).unwrap();
        self.tend(bob);
    }

    /// Says something.
    pub(crate) fn send(&mut self, from: usize, to: usize, id: &str, draft: Draft) {
        let (contact, (now, unix)) = (self.id(to), self.now(from));
        let id = ClientMessageId::new(id).unwrap();
        let machine = &mut self.persons[from].messenger;
        machine.handle_send(&contact, id, draft, now, unix).unwrap();
        self.tend(from);
    }

    /// Offers a file of so many bytes; whoever gets the offer accepts.
    pub(crate) fn send_file(&mut self, from: usize, to: usize, id: &str, len: usize) {
        let blob: Vec<u8> = (0..len).map(|i| (i * 31 / 7) as u8).collect();
        let file = FileDraft {
            blob: BlobRef([1; 16]),
            name: "file".to_owned(),
            media_type: String::new(),
            size: len as u64,
            hash: Sha256::digest(&blob).into(),
        };
        self.persons[from].blob = blob;
        let draft = Draft {
            file: Some(file),
            ..Draft::text("a file")
        };
        self.send(from, to, id, draft);
    }

    /// Both machines of `who` start again, from what the disk holds.
    pub(crate) fn restart(&mut self, who: usize) {
        self.tend(who);
        let person = &mut self.persons[who];
        person.incarnation += 1;
        let seed = [person.client as u8 + 1, person.incarnation];
        let keys = KeyRng::from_seed(Sha256::digest(seed).into());
        let rows = person.rows.values().cloned();
        let network = self.engine.authority().network.id().to_owned();
        let restored = Messenger::restore(MessengerConfig::new(network), keys, rows);
        person.messenger = restored.unwrap_or_else(|e| panic!("restore: {e}"));
        person.directory = None;
        self.engine.restart_client(person.client);
    }

    /// Unfinished messages of `who`.
    pub(crate) fn waiting(&self, who: usize) -> usize {
        self.persons[who]
            .messenger
            .contacts()
            .map(|c| c.waiting)
            .sum()
    }

    /// How many messages of `who` are known to have been delivered.
    pub(crate) fn delivered(&self, who: usize) -> usize {
        let states = self.persons[who].states.values();
        states
            .filter(|(s, _)| *s == MessageState::Delivered)
            .count()
    }

    /// Mail, time, directory; then rows and news; then orders.
    fn tend(&mut self, who: usize) {
        let (now, unix) = self.now(who);
        for event in self.engine.take_mail(self.persons[who].client) {
            self.deliver(who, event, now, unix);
        }
        let client = &self.engine.clients()[self.persons[who].client].sut;
        let entry = client.entry();
        let current = client.view().current(now).cloned();
        let person = &mut self.persons[who];
        if let Some(directory) = current
            && person.directory != Some((directory.hash(), entry))
        {
            person.directory = Some((directory.hash(), entry));
            person
                .messenger
                .handle_directory(directory, entry, now, unix);
        }
        let due = person.messenger.poll_timeout();
        if due.is_some_and(|(at, _)| at <= now) {
            person.messenger.handle_timeout(now, unix);
        }
        while let Some(event) = self.persons[who].messenger.poll_event() {
            self.persons[who].hear(event, now, unix);
        }
        while let Some(order) = self.persons[who].messenger.poll_transmit() {
            self.order(who, order);
        }
    }

    fn deliver(&mut self, who: usize, event: ClientEvent, now: Instant, unix: UnixTime) {
        let machine = &mut self.persons[who].messenger;
        let deposit = |handle: u64| DepositHandle(handle);
        match event {
            ClientEvent::Mixing(h) => {
                machine.handle_deposit(deposit(h), DepositOutcome::Mixing, now)
            }
            ClientEvent::Stored(h) => {
                machine.handle_deposit(deposit(h), DepositOutcome::Stored, now)
            }
            ClientEvent::Refused(h) => {
                machine.handle_deposit(deposit(h), DepositOutcome::Refused, now);
            }
            ClientEvent::Opened(inbox, secs) => {
                let ttl = Duration::from_secs(u64::from(secs));
                machine.handle_inbox(inbox, InboxOutcome::Opened { ttl }, now, unix);
            }
            ClientEvent::InboxRefused(inbox) => {
                machine.handle_inbox(inbox, InboxOutcome::Refused, now, unix);
            }
            ClientEvent::Cell(inbox, id, cell) => {
                machine.handle_cell(inbox, id, &cell, now, unix);
            }
            ClientEvent::GatewayFailing(gateway) => {
                machine.handle_gateway(gateway, true, now, unix);
            }
            ClientEvent::GatewayBack(gateway) => machine.handle_gateway(gateway, false, now, unix),
            ClientEvent::SplitView { .. }
            | ClientEvent::OtherDirectory { .. }
            | ClientEvent::SplitUnproven { .. } => {}
        }
    }

    fn order(&mut self, who: usize, order: Order) {
        let client = self.persons[who].client;
        self.engine.with_client(client, |sut, now| match order {
            Order::Deposit {
                handle,
                address,
                cell_id,
                cell,
                flow,
                peer,
            } => {
                let class = match flow {
                    FlowKind::Control => FlowClass::Control,
                    FlowKind::Chat => FlowClass::Chat,
                    FlowKind::Bulk => FlowClass::Bulk,
                };
                let order = DepositOrder {
                    handle: handle.0,
                    address,
                    cell_id,
                    cell,
                    flow: Flow { class, peer },
                };
                assert!(sut.handle_deposit(order, now), "no room");
            }
            Order::Open(own) => {
                let order = OpenOrder {
                    gateway: own.gateway,
                    inbox: own.inbox,
                    reader: IdentitySecret::from_seed(&own.reader_seed),
                    token_hash: own.token_hash,
                    ttl_secs: own.ttl.as_secs() as u32,
                    class: fetch_class(own.class),
                };
                assert!(sut.handle_open(order, now), "no room");
            }
            Order::Class { inbox, class } => sut.handle_class(inbox, fetch_class(class), now),
            Order::Close { inbox, .. } => sut.handle_close(inbox, now),
            Order::Acknowledge { inbox, cell_id } => sut.handle_acknowledge(inbox, cell_id),
            Order::Cancel { handle } => sut.handle_cancel(handle.0),
        });
    }
}

impl Person {
    fn hear(&mut self, event: Event, now: Instant, unix: UnixTime) {
        match event {
            Event::MessageReceived {
                contact,
                message_id,
                body,
                file,
                ..
            } => {
                self.received.push((now, body));
                if file.is_some() && self.accepts {
                    self.accept(&contact, &message_id, now, unix);
                }
            }
            Event::MessageState { id, state, .. } => {
                self.states.insert(id.as_str().to_owned(), (state, now));
            }
            Event::BlobWanted(want) => {
                let start = want.index as usize * FILE_RECORD_LEN;
                let end = self.blob.len().min(start + FILE_RECORD_LEN);
                let record = self.blob[start..end].to_vec();
                self.messenger.handle_blob(&want, Some(&record), now, unix);
            }
            Event::BlobWrite { index, bytes, .. } => {
                self.records.insert(index, bytes.to_vec());
            }
            Event::FileDone {
                contact,
                transfer,
                hash_to_check,
            } => {
                let bytes: Vec<u8> = self.records.values().flatten().copied().collect();
                let right = Sha256::digest(&bytes)[..] == hash_to_check;
                let machine = &mut self.messenger;
                machine.handle_file_checked(&contact, &transfer, right, now, unix);
            }
            Event::Ignored { reason } => {
                *self.ignored.entry(format!("{reason:?}")).or_default() += 1;
            }
            Event::FileFailed { reason, .. } => panic!("a file failed: {reason:?}"),
            Event::Write(row) => {
                self.rows.insert((row.table, row.key.clone()), row);
            }
            Event::ContactAdded { .. }
            | Event::InviteUsed { .. }
            | Event::InviteExpired { .. }
            | Event::BlobBegin { .. }
            | Event::FileProgress { .. }
            | _ => {}
        }
    }

    fn accept(&mut self, from: &ContactId, message: &MessageId, now: Instant, unix: UnixTime) {
        let accepted = self.messenger.handle_accept_file(from, message, now, unix);
        accepted.unwrap();
    }
}

fn fetch_class(class: InboxClass) -> FetchClass {
    match class {
        InboxClass::Favourite => FetchClass::Favourite,
        InboxClass::Contact => FetchClass::Contact,
        InboxClass::Bulk => FetchClass::Bulk,
    }
}
