//! Gateways as maps of inboxes, two halves with their rows, and time in tenths of a second.

use super::super::receive::{Control, Stage};
use super::super::send::{Reach, SendAction};
use super::super::*;
use super::network::{directory, gateway};
use crate::event::MessageId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wire::codec::{Reader, Writer};
use wire::ids::{CellId, InboxAddress, InboxId, NodeId, WriteToken};
use wire::request::Cell;
use wire::rng::{KeyRng, pick};
use wire::time::Instant;

pub(super) const QUOTA: u16 = 64;
const STEP: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);
const ATTEMPT: Duration = Duration::from_secs(30);
const ID: MessageId = MessageId([0x11; 16]);
/// Three virtual days.
const STEPS_MAX: u64 = 30 * 86_400;

#[derive(Clone, Copy, Default)]
pub(super) struct Trouble {
    /// Per cent of replies and of reports that are lost.
    pub(super) loss: u8,
    /// Per mille of rounds in which an end crashes.
    pub(super) crash: u8,
    /// Gateways that die.
    pub(super) deaths: u8,
    /// Times that a gateway forgets the cells of an inbox.
    pub(super) forgets: u8,
    /// The receiver is away for the first hours.
    pub(super) receiver_sleeps: bool,
}

enum Letter {
    Offer,
    Control(Control),
}

struct Deposit {
    index: u32,
    address: InboxAddress,
    cell_id: CellId,
    cell: Cell,
    left: bool,
}

fn reach(gateway: &NodeId, entry: &NodeId, dead: &BTreeSet<NodeId>) -> Reach {
    match gateway != entry && !dead.contains(gateway) {
        true => Reach::Good,
        false => Reach::None,
    }
}

type Rows = (Vec<u8>, BTreeMap<u32, Vec<u8>>, BTreeMap<u32, Vec<u8>>);

pub(super) struct World {
    rng: KeyRng,
    now: Instant,
    trouble: Trouble,
    directory: Arc<directory::Directory>,
    pub(super) entry_of_sender: NodeId,
    pub(super) entry_of_receiver: NodeId,
    dead: BTreeSet<NodeId>,
    content: Vec<u8>,
    sender: SendTransfer,
    deposits_under_way: Vec<Deposit>,
    receiver: ReceiveTransfer,
    receiver_rows: Rows,
    opening: BTreeSet<InboxId>,
    tokens: BTreeMap<InboxId, NodeId>,
    inboxes: BTreeMap<InboxId, Vec<(CellId, Cell)>>,
    letters: Vec<(bool, Letter)>,
    /// Refused by an inbox that holds only what this run of the sender stored there.
    pub(super) refused_full: u32,
    /// By one in which cells of an earlier run lie, of which this one knows nothing.
    pub(super) refused_after_restart: u32,
    restarts: u32,
    /// In which run of the sender cells were stored.
    stored_by: BTreeMap<CellId, u32>,
    pub(super) deposits: u32,
    pub(super) by_gateway: BTreeMap<NodeId, u32>,
    pub(super) fullest: BTreeMap<InboxId, usize>,
}

impl World {
    pub(super) fn new(seed: u8, size: u64, gateways: u8, trouble: Trouble) -> Self {
        let mut rng = KeyRng::from_seed([seed; 32]);
        let content = (0..size).map(|i| (i * 31 / 7) as u8).collect();
        let key = FileKey::from_bytes(rng.bytes());
        let (shape, pace) = (Shape::new(size), Pace::new(PATIENCE, QUOTA));
        let now = Instant::from_nanos(5);
        let sender = SendTransfer::new(key.clone(), shape, pace, now);
        let receiver = ReceiveTransfer::new(ID, key, shape, pace, now);
        let mut world = Self {
            rng,
            now,
            trouble,
            directory: Arc::new(directory(&(0..gateways).collect::<Vec<_>>())),
            entry_of_sender: gateway(0),
            entry_of_receiver: gateway(1),
            dead: BTreeSet::new(),
            content,
            sender,
            deposits_under_way: Vec::new(),
            receiver,
            receiver_rows: Rows::default(),
            opening: BTreeSet::new(),
            tokens: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            letters: Vec::new(),
            refused_full: 0,
            refused_after_restart: 0,
            restarts: 0,
            stored_by: BTreeMap::new(),
            deposits: 0,
            by_gateway: BTreeMap::new(),
            fullest: BTreeMap::new(),
        };
        world.tend_receiver();
        world
    }

    fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < per_mille as usize
    }

    fn below(&mut self, len: usize) -> usize {
        pick(u64::from_be_bytes(self.rng.bytes()), len).unwrap_or(0)
    }

    fn lost(&mut self) -> bool {
        self.chance(u32::from(self.trouble.loss) * 10)
    }

    /// Until the sender knows that the file is there; then compares it.
    pub(super) fn run(&mut self) {
        let mut steps = 0;
        while !self.sender.is_complete() {
            self.now += STEP;
            steps += 1;
            assert!(
                steps < STEPS_MAX,
                "no end: {} of {}",
                self.sender.done(),
                self.content.len()
            );
            self.misfortune(steps);
            self.step_sender();
            if !(self.trouble.receiver_sleeps && (100..20_000).contains(&steps)) {
                self.step_receiver();
            }
            let (numbers, actions) = self.sender.held();
            let bound = (SPAN + 4 * INBOX_WINDOW_MAX) as usize;
            assert!(numbers <= bound && actions <= bound, "{numbers} {actions}");
            assert!(self.deposits_under_way.len() <= UNDER_WAY_MAX * INBOXES_MAX);
        }
        assert_eq!(self.receiver.stage(), Stage::Complete);
        let written: Vec<u8> = self.receiver_rows.2.values().flatten().copied().collect();
        assert!(written == self.content, "the file came out different");
        assert_eq!(self.receiver.done(), self.content.len() as u64);
        assert_eq!(self.sender.done(), self.content.len() as u64);
    }

    fn misfortune(&mut self, steps: u64) {
        let crash = u32::from(self.trouble.crash);
        if self.chance(crash) {
            self.restart_sender();
        }
        if self.chance(crash) {
            self.restart_receiver();
        }
        if steps.is_multiple_of(150) && self.dead.len() < usize::from(self.trouble.deaths) {
            let used: Vec<NodeId> = self.tokens.values().copied().collect();
            let gateway = used[self.below(used.len())];
            let gone = |inbox: &InboxId| self.tokens.get(inbox) == Some(&gateway);
            self.inboxes.retain(|inbox, _| !gone(inbox));
            self.dead.insert(gateway);
            // Both ends hear of it.
            let lost: Vec<InboxId> = self.receiver.inboxes().map(|a| a.inbox).collect();
            for inbox in lost
                .into_iter()
                .filter(|i| self.tokens.get(i) == Some(&gateway))
            {
                self.receiver.lose_inbox(&inbox, self.now);
            }
            self.tell_usable();
        }
        if steps.is_multiple_of(200) && self.trouble.forgets > 0 {
            self.trouble.forgets -= 1;
            let ids: Vec<InboxId> = self.inboxes.keys().copied().collect();
            let inbox = ids[self.below(ids.len())];
            self.inboxes.insert(inbox, Vec::new());
        }
    }

    fn tell_usable(&mut self) {
        let (entry, dead) = (self.entry_of_sender, self.dead.clone());
        self.sender.handle_reach(&|id| reach(id, &entry, &dead));
    }

    fn restart_sender(&mut self) {
        let pace = Pace::new(PATIENCE, QUOTA);
        let mut w = Writer::default();
        self.sender.encode(&mut w);
        let row = w.into_vec();
        let mut r = Reader::new(&row);
        self.sender = SendTransfer::decode(&mut r, pace, self.now).unwrap();
        r.finish().unwrap();
        self.deposits_under_way.clear();
        self.restarts += 1;
        self.tell_usable();
    }

    fn restart_receiver(&mut self) {
        let pace = Pace::new(PATIENCE, QUOTA);
        let mut r = Reader::new(&self.receiver_rows.0);
        self.receiver = ReceiveTransfer::decode(&mut r, ID, pace, self.now).unwrap();
        r.finish().unwrap();
        for (page, bytes) in &self.receiver_rows.1 {
            assert!(self.receiver.restore_page(*page, bytes));
        }
        self.opening = self.receiver.inboxes().map(|a| a.inbox).collect();
        if self.receiver.stage() == Stage::Checking {
            self.receiver.handle_checked(self.now);
        }
    }

    fn step_sender(&mut self) {
        if let Some(at) = self.letters.iter().position(|(to_sender, _)| *to_sender)
            && self.chance(300)
        {
            self.letter_to_sender(at);
        }
        if !self.deposits_under_way.is_empty() {
            for _ in 0..4 {
                self.carry_deposit();
            }
        }
        let due = self.sender.poll_timeout(ATTEMPT, self.now);
        if due.is_some_and(|at| at <= self.now) {
            self.sender.handle_timeout(ATTEMPT, self.now);
        }
        while let Some(action) = self.sender.poll_action(self.now) {
            match action {
                SendAction::Want(index) => self.read(index),
                SendAction::Withdraw(index) => {
                    self.deposits_under_way.retain(|d| d.index != index);
                }
                SendAction::Offer => self.letters.push((false, Letter::Offer)),
            }
        }
    }

    fn read(&mut self, index: u32) {
        let start = index as usize * FILE_RECORD_LEN;
        let end = (start + FILE_RECORD_LEN).min(self.content.len());
        let bytes = self.content[start..end].to_vec();
        let made = self.sender.handle_record(index, &bytes).unwrap().unwrap();
        assert!(made.address.gateway != self.entry_of_sender);
        self.deposits_under_way.push(Deposit {
            index,
            address: made.address,
            cell_id: made.cell_id,
            cell: made.cell,
            left: false,
        });
    }

    /// One packet with one of the first deposits, and its reply unless that is lost.
    fn carry_deposit(&mut self) {
        let len = self.deposits_under_way.len();
        if len == 0 {
            return;
        }
        let at = self.below(len.min(8));
        let deposit = &mut self.deposits_under_way[at];
        if !std::mem::replace(&mut deposit.left, true) {
            self.deposits += 1;
            self.sender.handle_mixing(deposit.index, self.now);
        }
        let (index, address) = (deposit.index, deposit.address.clone());
        if self.dead.contains(&address.gateway) {
            return;
        }
        *self.by_gateway.entry(address.gateway).or_default() += 1;
        let stored = match self.inboxes.get_mut(&address.inbox) {
            Some(cells) if cells.iter().any(|(id, _)| *id == deposit.cell_id) => true,
            Some(cells) if cells.len() < usize::from(QUOTA) => {
                cells.push((deposit.cell_id, deposit.cell.clone()));
                self.stored_by.insert(deposit.cell_id, self.restarts);
                let most = self.fullest.entry(address.inbox).or_default();
                *most = cells.len().max(*most);
                true
            }
            Some(cells) => {
                let ours = |(id, _): &(CellId, Cell)| self.stored_by[id] == self.restarts;
                match cells.iter().all(ours) {
                    true => self.refused_full += 1,
                    false => self.refused_after_restart += 1,
                }
                false
            }
            None => false,
        };
        if self.lost() {
            return;
        }
        self.deposits_under_way.remove(at);
        match stored {
            true => self.sender.handle_stored(index, self.now),
            false => self.sender.handle_refused(index, self.now),
        }
    }

    fn letter_to_sender(&mut self, at: usize) {
        let (_, letter) = self.letters.swap_remove(at);
        if self.lost() {
            return;
        }
        let (entry, dead) = (self.entry_of_sender, self.dead.clone());
        let reach = |id: &NodeId| reach(id, &entry, &dead);
        let mut w = Writer::default();
        match letter {
            Letter::Control(Control::Accept(accept)) => {
                accept.encode(&mut w);
                let bytes = w.into_vec();
                // Type byte included, it is one cell.
                assert!(bytes.len() < crate::suite1::INNER_ONE_CELL);
                let accept = FileAccept::decode(Reader::new(&bytes)).unwrap();
                self.sender
                    .handle_accept(&accept, &reach, self.now)
                    .unwrap();
            }
            Letter::Control(Control::Progress(progress)) => {
                progress.encode(&mut w);
                let bytes = w.into_vec();
                let back = FileProgress::decode(Reader::new(&bytes)).unwrap();
                assert_eq!(back, progress);
                self.sender.handle_progress(&back.report, self.now).unwrap();
            }
            Letter::Offer => unreachable!("the sender offers"),
        }
    }

    fn step_receiver(&mut self) {
        if let Some(at) = self.letters.iter().position(|(to_sender, _)| !to_sender)
            && self.chance(300)
        {
            self.letters.swap_remove(at);
            if !self.lost() {
                self.receiver.handle_asked(self.now);
            }
        }
        if let Some(inbox) = self.opening.pop_first() {
            self.inboxes.entry(inbox).or_default();
            self.receiver.handle_opened(&inbox, self.now);
        }
        for _ in 0..3 {
            self.fetch();
        }
        self.receiver.handle_timeout(self.now);
        self.tend_receiver();
    }

    /// One fetch from one inbox: about the oldest cell, acknowledged when it is written down.
    fn fetch(&mut self) {
        let ids: Vec<InboxId> = self.receiver.inboxes().map(|a| a.inbox).collect();
        if ids.is_empty() {
            return;
        }
        let inbox = ids[self.below(ids.len())];
        let waiting = self.inboxes.get(&inbox).map_or(0, Vec::len);
        if waiting == 0 || self.lost() {
            return;
        }
        let at = self.below(waiting.min(6));
        let cell = self.inboxes[&inbox][at].1.clone();
        let taken = self.receiver.handle_cell(&cell, self.now).unwrap();
        // A crash before the batch is durable: neither written nor acknowledged.
        if self.trouble.crash > 0 && self.chance(2) {
            self.restart_receiver();
            return;
        }
        if let Some((index, bytes)) = taken {
            let before = self.receiver_rows.2.insert(index, bytes.to_vec());
            assert!(before.is_none_or(|b| b == bytes[..]));
        }
        self.tend_receiver();
        self.inboxes.get_mut(&inbox).unwrap().remove(at);
        if self.lost() {
            // The acknowledgement is lost: it comes once more.
            let again = (CellId(self.rng.bytes()), cell);
            self.stored_by.insert(again.0, self.restarts);
            self.inboxes.get_mut(&inbox).unwrap().push(again);
        }
    }

    fn tend_receiver(&mut self) {
        let present: Vec<NodeId> = self.receiver.inboxes().map(|a| a.gateway).collect();
        let wanted = self.receiver.inboxes_wanted();
        let (entry, directory) = (self.entry_of_receiver, self.directory.clone());
        let chosen = select::gateways(
            &directory,
            &entry,
            &self.dead,
            &present,
            wanted,
            &mut self.rng,
        );
        for gateway in chosen {
            let inbox = InboxId(self.rng.bytes());
            let token = WriteToken(self.rng.bytes());
            self.opening.insert(inbox);
            self.tokens.insert(inbox, gateway);
            self.receiver.add_inbox(InboxAddress {
                gateway,
                inbox,
                token,
            });
        }
        if self.receiver.stage() == Stage::Checking {
            self.receiver.handle_checked(self.now);
        }
        let control = self.receiver.poll_control(self.now);
        self.receiver_rows.1.extend(self.receiver.take_dirty());
        let mut w = Writer::default();
        self.receiver.encode(&mut w);
        self.receiver_rows.0 = w.into_vec();
        let letter = control.map(|c| (true, Letter::Control(c)));
        self.letters.extend(letter);
    }
}
