//! A toy world for flow tests: clients with a store, gateways that are maps of inboxes, and a
//! network that loses, doubles and reorders. Everything follows from one seed.

use directory::{Directory, EpochSchedule, Family, NodeDescriptor, Parameters, Preamble, Role};
use messaging::{
    BlobRef, BlobWant, Card, ClientMessageId, ContactId, DepositOutcome, Draft, Event,
    FILE_RECORD_LEN, FailReason, FileRef, FileView, IgnoreReason, InboxOutcome, MessageId,
    MessageState, Messenger, MessengerConfig, Order, OwnInbox, Record, SendError, SendOutcome,
    Table,
};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use wire::geometry::GeometryHash;
use wire::ids::{CellId, DirectoryHash, InboxId, NetworkId, NodeId};
use wire::keys::IdentitySecret;
use wire::request::Cell;
use wire::rng::{KeyRng, pick};
use wire::time::{Instant, UnixTime};
use zeroize::Zeroizing;

pub(crate) const NETWORK: NetworkId = NetworkId([0x4d; 32]);
pub(crate) const BASE: u64 = 1_000_000_000;
pub(crate) const EPOCH: Duration = Duration::from_secs(10);
/// Epochs in a period.
pub(crate) const PERIOD: u32 = 60;

struct StoredInbox {
    reader: Zeroizing<[u8; 32]>,
    token_hash: [u8; 32],
    expires: u64,
    cells: Vec<(CellId, Cell)>,
}

pub(crate) struct Client {
    pub(crate) messenger: Option<Messenger>,
    pub(crate) store: BTreeMap<(Table, Vec<u8>), Zeroizing<Vec<u8>>>,
    pub(crate) received: Vec<(ContactId, String)>,
    pub(crate) received_ids: Vec<MessageId>,
    pub(crate) states: BTreeMap<String, MessageState>,
    pub(crate) added: Vec<(ContactId, String, bool)>,
    pub(crate) invites_used: usize,
    pub(crate) ignored: Vec<IgnoreReason>,
    pub(crate) entry: NodeId,
    pub(crate) orders: VecDeque<Order>,
    pub(crate) reading: BTreeMap<InboxId, NodeId>,
    pub(crate) deposits: usize,
    pub(crate) opens: BTreeMap<(NodeId, InboxId), usize>,
    pub(crate) online: bool,
    /// What an application may send.
    pub(crate) blobs: BTreeMap<BlobRef, Vec<u8>>,
    /// Records of files that came, durable.
    pub(crate) files: BTreeMap<MessageId, BTreeMap<u32, Vec<u8>>>,
    pub(crate) offers: BTreeMap<MessageId, FileView>,
    pub(crate) complete: BTreeSet<MessageId>,
    pub(crate) failed: Vec<(FileRef, FailReason)>,
    pub(crate) progress: Vec<(FileRef, u64)>,
    wants: VecDeque<BlobWant>,
    checks: VecDeque<(ContactId, MessageId, [u8; 32])>,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Weather {
    /// Per cent of replies that are lost (the order is tried again).
    pub(crate) loss: u8,
    /// Per cent of fetched cells that come once more, and of deposits made twice.
    pub(crate) double: u8,
    /// Whether orders are carried out in any order.
    pub(crate) reorder: bool,
    /// Per cent of rounds in which a client crashes, before or after its batch is durable.
    pub(crate) crash: u8,
}

pub(crate) struct World {
    pub(crate) rng: KeyRng,
    pub(crate) now: Duration,
    pub(crate) directory: Arc<Directory>,
    gateways: BTreeMap<(NodeId, InboxId), StoredInbox>,
    pub(crate) dead: BTreeSet<NodeId>,
    pub(crate) clients: Vec<Client>,
    pub(crate) weather: Weather,
    /// Counts [`World::settle`]; at the number in front the client crashes, before its batch is
    /// durable (`false`) or after (`true`).
    pub(crate) settles: usize,
    pub(crate) crash_at: Option<(usize, bool)>,
    pub(crate) config: MessengerConfig,
    pub(crate) refused_full: usize,
    /// Gateways that ever stored something.
    pub(crate) stored_at: BTreeSet<NodeId>,
}

fn node(seed: u8, role: Role, family: u8) -> NodeDescriptor {
    NodeDescriptor {
        identity: IdentitySecret::from_seed(&[seed; 32]).public(),
        role,
        family: Family([family; 16]),
        addresses: Vec::new(),
        client_addresses: Vec::new(),
        sphinx_keys: Vec::new(),
    }
}

/// Gateways `0..count`, each of a family of its own; those in `gone` are left out.
pub(crate) fn directory(count: u8, gone: &[u8]) -> Arc<Directory> {
    let gateways = (0..count)
        .filter(|n| !gone.contains(n))
        .map(|n| node(100 + n, Role::Gateway, n))
        .collect();
    let layers = [1, 2, 3].map(|n| vec![node(n, Role::Mix, 50 + n)]);
    let preamble = Preamble {
        network: NETWORK,
        epoch: wire::ids::Epoch(0),
        schedule: EpochSchedule {
            genesis: UnixTime(BASE),
            length: EPOCH,
        },
        valid_from: UnixTime(0),
        valid_until: UnixTime(u64::MAX),
        previous: DirectoryHash([0; 32]),
        geometry: GeometryHash::current(),
        parameters: Parameters {
            inbox_period: PERIOD,
            inbox_ttl_max: Duration::from_secs(400),
            cell_ttl: Duration::from_secs(5000),
            ..Parameters::localnet()
        },
        shared_random: [0; 32],
        withheld: 0,
    };
    Arc::new(Directory::new(preamble, layers, gateways).unwrap())
}

pub(crate) fn gateway(n: u8) -> NodeId {
    node(100 + n, Role::Gateway, n).id()
}

pub(crate) fn message(id: &str) -> ClientMessageId {
    ClientMessageId::new(id).unwrap()
}

impl World {
    pub(crate) fn new(seed: u8, gateways: u8, entries: &[u8]) -> Self {
        Self::with(seed, gateways, entries, |_| {})
    }

    /// With other limits.
    pub(crate) fn with(
        seed: u8,
        gateways: u8,
        entries: &[u8],
        limits: impl Fn(&mut MessengerConfig),
    ) -> Self {
        let mut config = MessengerConfig::new(NETWORK);
        limits(&mut config);
        config.close_grace = Duration::from_secs(30);
        config.attempt_timeout = Duration::from_secs(20);
        config.retry_max = Duration::from_secs(20);
        let mut world = Self {
            rng: KeyRng::from_seed([seed; 32]),
            now: Duration::ZERO,
            directory: directory(gateways, &[]),
            gateways: BTreeMap::new(),
            dead: BTreeSet::new(),
            clients: Vec::new(),
            weather: Weather::default(),
            settles: 0,
            crash_at: None,
            config,
            refused_full: 0,
            stored_at: BTreeSet::new(),
        };
        for entry in entries {
            let keys = KeyRng::from_seed(world.rng.bytes());
            let messenger = Messenger::new(world.config.clone(), keys);
            world.clients.push(Client {
                messenger: Some(messenger),
                store: BTreeMap::new(),
                received: Vec::new(),
                received_ids: Vec::new(),
                states: BTreeMap::new(),
                added: Vec::new(),
                invites_used: 0,
                ignored: Vec::new(),
                entry: gateway(*entry),
                orders: VecDeque::new(),
                reading: BTreeMap::new(),
                deposits: 0,
                opens: BTreeMap::new(),
                online: true,
                blobs: BTreeMap::new(),
                files: BTreeMap::new(),
                offers: BTreeMap::new(),
                complete: BTreeSet::new(),
                failed: Vec::new(),
                progress: Vec::new(),
                wants: VecDeque::new(),
                checks: VecDeque::new(),
            });
        }
        for who in 0..entries.len() {
            world.settle(who);
            world.tell_directory(who);
        }
        world
    }

    pub(crate) fn instant(&self) -> Instant {
        Instant::from_nanos(self.now.as_nanos() as u64)
    }

    pub(crate) fn unix(&self) -> UnixTime {
        UnixTime(BASE + self.now.as_millis() as u64)
    }

    pub(crate) fn chance(&mut self, percent: u8) -> bool {
        let draw = u64::from_be_bytes(self.rng.bytes());
        pick(draw, 100).unwrap() < usize::from(percent)
    }

    pub(crate) fn machine(&mut self, who: usize) -> &mut Messenger {
        self.clients[who].messenger.as_mut().unwrap()
    }

    pub(crate) fn id(&mut self, who: usize) -> ContactId {
        let identity = self.machine(who).identity();
        ContactId::of(&identity)
    }

    /// So many cells in an inbox.
    pub(crate) fn set_quota(&mut self, quota: u16) {
        let parameters = &mut Arc::make_mut(&mut self.directory).parameters;
        parameters.inbox_quota = quota;
        (0..self.clients.len()).for_each(|who| self.tell_directory(who));
    }

    pub(crate) fn tell_directory(&mut self, who: usize) {
        let (now, unix) = (self.instant(), self.unix());
        let (directory, entry) = (self.directory.clone(), self.clients[who].entry);
        self.machine(who)
            .handle_directory(directory, entry, now, unix);
        self.settle(who);
    }

    pub(crate) fn card(&mut self, who: usize, name: &str) -> Card {
        let (now, unix) = (self.instant(), self.unix());
        let life = Duration::from_secs(300);
        let card = self.machine(who).handle_create_card(name, life, now, unix);
        self.settle(who);
        // What a person copies is the text.
        Card::from_text(&card.unwrap().to_text()).unwrap()
    }

    pub(crate) fn add(&mut self, who: usize, card: &Card, name: &str) -> ContactId {
        let (now, unix) = (self.instant(), self.unix());
        let id = self.machine(who).handle_add_card(card, name, now, unix);
        self.settle(who);
        id.unwrap()
    }

    pub(crate) fn send(
        &mut self,
        who: usize,
        to: &ContactId,
        id: &str,
        body: &str,
    ) -> Result<SendOutcome, SendError> {
        self.send_draft(who, to, id, Draft::text(body))
    }

    pub(crate) fn send_draft(
        &mut self,
        who: usize,
        to: &ContactId,
        id: &str,
        draft: Draft,
    ) -> Result<SendOutcome, SendError> {
        let (now, unix) = (self.instant(), self.unix());
        let machine = self.machine(who);
        let outcome = machine.handle_send(to, message(id), draft, now, unix);
        self.settle(who);
        outcome
    }

    /// The application says it until it is durable.
    pub(crate) fn insist(&mut self, who: usize, to: &ContactId, id: &str, body: &str) {
        while self.send(who, to, id, body) != Ok(SendOutcome::Duplicate) {}
    }

    /// Gateways lose a share of the cells in a client's inboxes, in per cent.
    pub(crate) fn forget(&mut self, who: usize, percent: u8) {
        let reading = self.clients[who].reading.clone();
        for (inbox, gateway) in reading {
            if let Some(mut stored) = self.gateways.remove(&(gateway, inbox)) {
                stored.cells.retain(|_| !self.chance(percent));
                self.gateways.insert((gateway, inbox), stored);
            }
        }
    }

    /// Drains events, makes them durable, then drains orders: the contract. Crashes on the way as
    /// the weather says; a crash loses what was not durable and every order not carried out.
    pub(crate) fn settle(&mut self, who: usize) {
        let crash = self.weather.crash;
        let (mut early, mut late) = match self.now > Duration::ZERO {
            true => (self.chance(crash), self.chance(crash)),
            false => (false, false),
        };
        self.settles += 1;
        if let Some((_, durable)) = self.crash_at.filter(|(at, _)| *at == self.settles) {
            self.crash_at = None;
            (early, late) = (!durable, durable);
        }
        if early {
            return self.crash(who);
        }
        let client = &mut self.clients[who];
        let machine = client.messenger.as_mut().unwrap();
        while let Some(event) = machine.poll_event() {
            match event {
                Event::Write(Record {
                    table, key, value, ..
                }) => match value {
                    Some(value) => {
                        client.store.insert((table, key), value);
                    }
                    None => {
                        client.store.remove(&(table, key));
                    }
                },
                Event::ContactAdded {
                    contact,
                    name,
                    by_invite,
                    ..
                } => client.added.push((contact, name, by_invite)),
                Event::InviteUsed { .. } => client.invites_used += 1,
                Event::MessageReceived {
                    contact,
                    body,
                    message_id,
                    file,
                    ..
                } => {
                    client.received.push((contact, body));
                    client.received_ids.push(message_id);
                    client.offers.extend(file.map(|file| (message_id, file)));
                }
                Event::MessageState { id, state, .. } => {
                    let before = client.states.insert(id.as_str().to_owned(), state);
                    let back = before.is_some_and(|b| b >= state || is_over(b));
                    assert!(!back, "{} went from {before:?} to {state:?}", id.as_str());
                }
                Event::Ignored { reason } => client.ignored.push(reason),
                Event::BlobWanted(want) => client.wants.push_back(want),
                Event::BlobBegin { transfer, .. } => {
                    client.files.entry(transfer).or_default();
                }
                Event::BlobWrite {
                    transfer,
                    index,
                    bytes,
                    ..
                } => {
                    let records = client.files.get_mut(&transfer).unwrap();
                    let before = records.insert(index, bytes.to_vec());
                    assert!(before.is_none_or(|b| b == bytes[..]));
                }
                Event::FileDone {
                    contact,
                    transfer,
                    hash_to_check,
                } => client.checks.push_back((contact, transfer, hash_to_check)),
                Event::FileProgress {
                    message,
                    done,
                    size,
                    ..
                } => {
                    if let FileRef::Incoming(id) = message
                        && done == size
                    {
                        client.complete.insert(id);
                    }
                    client.progress.push((message, done));
                }
                Event::FileFailed {
                    message, reason, ..
                } => {
                    if let FileRef::Incoming(id) = message {
                        client.files.remove(&id);
                    }
                    client.failed.push((message, reason));
                }
                Event::InviteExpired { .. } | _ => {}
            }
        }
        if late {
            return self.crash(who);
        }
        while let Some(order) = machine.poll_transmit() {
            client.orders.push_back(order);
        }
    }

    pub(crate) fn crash(&mut self, who: usize) {
        let keys = KeyRng::from_seed(self.rng.bytes());
        let client = &mut self.clients[who];
        client.orders.clear();
        client.reading.clear();
        client.wants.clear();
        client.checks.clear();
        let records = client.store.iter().map(|((table, key), value)| Record {
            table: *table,
            key: key.clone(),
            value: Some(value.clone()),
            vault: table.vault_of(key),
        });
        let restored = Messenger::restore(self.config.clone(), keys, records);
        client.messenger = Some(restored.unwrap_or_else(|e| panic!("restore: {e}")));
        let crash = std::mem::take(&mut self.weather.crash);
        self.tell_directory(who);
        self.weather.crash = crash;
    }

    /// A round of 100 ms: timeouts, one order and one fetch for every inbox of every client.
    pub(crate) fn round(&mut self) {
        self.now += Duration::from_millis(100);
        for who in 0..self.clients.len() {
            if !self.clients[who].online {
                continue;
            }
            let now = self.instant();
            let due = self.machine(who).poll_timeout();
            if due.is_some_and(|(at, _)| at <= now) {
                let unix = self.unix();
                self.machine(who).handle_timeout(now, unix);
                let next = self.machine(who).poll_timeout();
                assert!(next.is_none_or(|(at, _)| at > now), "spins: {next:?}");
                self.settle(who);
            }
            self.serve_files(who);
            for _ in 0..4 {
                self.carry_out_one(who);
            }
            self.fetch(who);
        }
    }

    pub(crate) fn rounds(&mut self, count: usize) {
        (0..count).for_each(|_| self.round());
    }

    /// Runs until `done`, at most `seconds`.
    pub(crate) fn until(&mut self, seconds: u64, done: impl Fn(&mut Self) -> bool) {
        let end = self.now + Duration::from_secs(seconds);
        while !done(self) {
            assert!(self.now < end, "not done after {seconds} s");
            self.round();
        }
    }

    fn carry_out_one(&mut self, who: usize) {
        let waiting = self.clients[who].orders.len();
        let draw = u64::from_be_bytes(self.rng.bytes());
        let index = match self.weather.reorder {
            true => pick(draw, waiting),
            false => (waiting > 0).then_some(0),
        };
        let Some(order) = index.and_then(|i| self.clients[who].orders.remove(i)) else {
            return;
        };
        let now = self.instant();
        let lost = self.chance(self.weather.loss);
        let twice = self.chance(self.weather.double);
        let entry = self.clients[who].entry;
        match order {
            Order::Deposit {
                handle,
                address,
                cell_id,
                cell,
                flow,
                peer,
            } => {
                assert!(address.gateway != entry, "deposit at the own entry");
                self.clients[who].deposits += 1;
                self.machine(who)
                    .handle_deposit(handle, DepositOutcome::Mixing, now);
                self.settle(who);
                let mut outcome = None;
                for _ in 0..=usize::from(twice) {
                    outcome = self.deposit(&address, cell_id, &cell);
                }
                match outcome.filter(|_| !lost) {
                    Some(outcome) => {
                        self.machine(who).handle_deposit(handle, outcome, now);
                        self.settle(who);
                    }
                    None => self.clients[who].orders.push_back(Order::Deposit {
                        handle,
                        address,
                        cell_id,
                        cell,
                        flow,
                        peer,
                    }),
                }
            }
            Order::Open(own) => self.open(who, own, lost),
            Order::Class { inbox, .. } => assert!(self.clients[who].reading.contains_key(&inbox)),
            Order::Close { gateway, inbox } => {
                self.clients[who].reading.remove(&inbox);
                self.gateways.remove(&(gateway, inbox));
            }
            Order::Acknowledge { inbox, cell_id } => {
                if let Some(gateway) = self.clients[who].reading.get(&inbox)
                    && let Some(stored) = self.gateways.get_mut(&(*gateway, inbox))
                {
                    stored.cells.retain(|(id, _)| *id != cell_id);
                }
            }
            Order::Cancel { handle } => {
                let is_it =
                    |o: &Order| matches!(o, Order::Deposit { handle: h, .. } if *h == handle);
                self.clients[who].orders.retain(|o| !is_it(o));
            }
        }
    }

    /// What the disk's threads do.
    fn serve_files(&mut self, who: usize) {
        while let Some(want) = self.clients[who].wants.pop_front() {
            let (now, unix) = (self.instant(), self.unix());
            let bytes = self.clients[who].blobs.get(&want.blob);
            let record = bytes.map(|b| {
                let start = want.index as usize * FILE_RECORD_LEN;
                b[start..b.len().min(start + FILE_RECORD_LEN)].to_vec()
            });
            let record = record.as_deref();
            self.machine(who).handle_blob(&want, record, now, unix);
            self.settle(who);
        }
        while let Some((contact, transfer, hash)) = self.clients[who].checks.pop_front() {
            let (now, unix) = (self.instant(), self.unix());
            let records = &self.clients[who].files[&transfer];
            let bytes: Vec<u8> = records.values().flatten().copied().collect();
            let right = Sha256::digest(&bytes)[..] == hash;
            let machine = self.machine(who);
            machine.handle_file_checked(&contact, &transfer, right, now, unix);
            self.settle(who);
        }
    }

    fn deposit(
        &mut self,
        address: &wire::ids::InboxAddress,
        cell_id: CellId,
        cell: &Cell,
    ) -> Option<DepositOutcome> {
        if self.dead.contains(&address.gateway) {
            return None;
        }
        let unix = self.unix();
        let stored = self.gateways.get_mut(&(address.gateway, address.inbox));
        let Some(stored) = stored.filter(|s| s.expires > unix.0) else {
            return Some(DepositOutcome::Refused);
        };
        assert!(stored.token_hash == address.token.hash().0, "wrong token");
        if !stored.cells.iter().any(|(id, _)| *id == cell_id) {
            if stored.cells.len() >= usize::from(self.directory.parameters.inbox_quota) {
                self.refused_full += 1;
                return Some(DepositOutcome::Refused);
            }
            self.stored_at.insert(address.gateway);
            stored.cells.push((cell_id, cell.clone()));
        }
        Some(DepositOutcome::Stored)
    }

    fn open(&mut self, who: usize, own: OwnInbox, lost: bool) {
        let (now, unix) = (self.instant(), self.unix());
        let client = &mut self.clients[who];
        *client.opens.entry((own.gateway, own.inbox)).or_default() += 1;
        client.reading.insert(own.inbox, own.gateway);
        if self.dead.contains(&own.gateway) || lost {
            client.orders.push_back(Order::Open(own));
            return;
        }
        let expires = unix.saturating_add(own.ttl).0;
        let inbox = own.inbox;
        let stored = self
            .gateways
            .entry((own.gateway, inbox))
            .and_modify(|s| s.expires = s.expires.max(expires))
            .or_insert_with(|| StoredInbox {
                reader: own.reader_seed.clone(),
                token_hash: own.token_hash.0,
                expires,
                cells: Vec::new(),
            });
        assert!(stored.reader == own.reader_seed, "another reader key");
        let outcome = InboxOutcome::Opened { ttl: own.ttl };
        self.machine(who).handle_inbox(inbox, outcome, now, unix);
        self.settle(who);
    }

    fn fetch(&mut self, who: usize) {
        let reading = self.clients[who].reading.clone();
        for (inbox, gateway) in reading {
            if self.dead.contains(&gateway) {
                continue;
            }
            let draw = u64::from_be_bytes(self.rng.bytes());
            let Some(stored) = self.gateways.get(&(gateway, inbox)) else {
                continue;
            };
            let index = match self.weather.reorder {
                true => pick(draw, stored.cells.len()),
                false => (!stored.cells.is_empty()).then_some(0),
            };
            let Some((cell_id, cell)) = index.map(|i| stored.cells[i].clone()) else {
                continue;
            };
            let times = 1 + usize::from(self.chance(self.weather.double));
            for _ in 0..times {
                let (now, unix) = (self.instant(), self.unix());
                self.machine(who)
                    .handle_cell(inbox, cell_id, &cell, now, unix);
                self.settle(who);
            }
        }
    }

    /// Puts a cell into every inbox a client reads, as its gateway could.
    pub(crate) fn plant(&mut self, who: usize, cell: &Cell) {
        let reading = self.clients[who].reading.clone();
        for (inbox, gateway) in reading {
            let id = CellId(self.rng.bytes());
            if let Some(stored) = self.gateways.get_mut(&(gateway, inbox)) {
                stored.cells.push((id, cell.clone()));
            }
        }
    }

    /// Every cell at every gateway.
    pub(crate) fn cells(&self) -> Vec<Cell> {
        let inboxes = self.gateways.values();
        let cells = inboxes.flat_map(|s| s.cells.iter().map(|(_, cell)| cell.clone()));
        cells.collect()
    }

    /// Cells in the inboxes that a client reads.
    pub(crate) fn unread(&self, who: usize) -> usize {
        let reading = self.clients[who].reading.iter();
        let stored = reading.filter_map(|(inbox, at)| self.gateways.get(&(*at, *inbox)));
        stored.map(|s| s.cells.len()).sum()
    }

    pub(crate) fn bodies(&self, who: usize) -> Vec<String> {
        let mut all: Vec<String> = self.clients[who]
            .received
            .iter()
            .map(|(_, body)| body.clone())
            .collect();
        all.sort();
        all
    }

    pub(crate) fn stored(&self, who: usize) -> usize {
        let states = self.clients[who].states.values();
        states.filter(|s| ARRIVED.contains(s)).count()
    }

    pub(crate) fn delivered(&self, who: usize) -> usize {
        let states = self.clients[who].states.values();
        states.filter(|s| ARRIVED[1..].contains(s)).count()
    }
}

const ARRIVED: [MessageState; 3] = [
    MessageState::Stored,
    MessageState::Delivered,
    MessageState::Read,
];

fn is_over(state: MessageState) -> bool {
    matches!(state, MessageState::Expired | MessageState::Failed(_))
}
