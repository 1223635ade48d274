//! Another directory of one epoch than ours: its hash stood in a reply, and its document is fetched from the
//! gateway that goes by it, as the proof. `docs/spec/requests.md` §3.
//!
//! Nothing is sent because of it. Its parts are asked for on send ticks that would have carried a piece of a
//! file, or cover: behind what people wait for, and at moments that were drawn before. One document at a time
//! is fetched, of each gateway two in an epoch at most, so that a gateway that makes hashes up costs little.
//!
//! Not here: what the two documents prove (`directory::SplitProof`), which the owner finds out, because it
//! has both and the network's keys.

use super::outbox::Outgoing;
use super::{Client, ClientEvent};
use directory::{Assembled, DirectoryAssembler, SignedDirectory};
use sphinx::PacketFormat;
use std::collections::BTreeSet;
use wire::ids::{DirectoryHash, Epoch, NodeId};
use wire::request::{Answer, DirectoryRequest, Reply};

/// Parts that are asked for at a time: a round trip's worth, at the rates of a real network.
const WINDOW: usize = 16;
/// Requests in a row that bring nothing new before a document is given up. Where a third of all replies is
/// lost, this many in a row are: probability 10⁻¹¹.
const MISSES_MAX: u32 = 24;
/// Documents that are fetched from one gateway in one epoch.
const EACH_MAX: usize = 2;

/// A part to ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PartOrder {
    pub(super) gateway: NodeId,
    pub(super) wanted: DirectoryRequest,
}

/// A document that is being fetched.
struct Search {
    epoch: Epoch,
    gateway: NodeId,
    hash: DirectoryHash,
    assembler: DirectoryAssembler,
    /// How many parts there are, once one has said so.
    parts: Option<u16>,
    missing: BTreeSet<u16>,
    misses: u32,
}

/// What a part's answer came to.
enum Found {
    /// Other parts are missing.
    Nothing,
    Whole(SignedDirectory),
    /// The gateway does not show what it goes by.
    GivenUp,
}

/// What is known of directories that others go by.
#[derive(Default)]
pub(super) struct OtherViews {
    search: Option<Search>,
    /// Which documents of which epoch were asked of whom: of gateways of a directory, [`EACH_MAX`] each.
    asked: Vec<(Epoch, NodeId, DirectoryHash)>,
    /// Those of which the owner has the proof.
    proven: Vec<(Epoch, DirectoryHash)>,
}

impl OtherViews {
    /// A gateway goes by a directory that is not ours. Returns whether its document is fetched from now on.
    fn seen(&mut self, epoch: Epoch, gateway: NodeId, hash: DirectoryHash) -> bool {
        let by_it = self.asked.iter().filter(|a| (a.0, a.1) == (epoch, gateway));
        let (times, same) = by_it.fold((0, false), |(n, same), a| (n + 1, same || a.2 == hash));
        let proven = self.proven.contains(&(epoch, hash));
        if self.search.is_some() || proven || same || times >= EACH_MAX {
            return false;
        }
        self.asked.push((epoch, gateway, hash));
        self.search = Some(Search {
            epoch,
            gateway,
            hash,
            assembler: DirectoryAssembler::new(),
            parts: None,
            missing: [0].into(),
            misses: 0,
        });
        true
    }

    /// The owner needs this document from nobody any more.
    fn proven(&mut self, epoch: Epoch, hash: DirectoryHash) {
        if !self.proven.contains(&(epoch, hash)) {
            self.proven.push((epoch, hash));
        }
    }

    /// Epochs before this one are over. Returns whose document was still being fetched.
    fn forget_before(&mut self, oldest: Epoch) -> Option<(NodeId, Epoch)> {
        self.asked.retain(|a| a.0 >= oldest);
        self.proven.retain(|p| p.0 >= oldest);
        let over = self.search.take_if(|s| s.epoch < oldest)?;
        Some((over.gateway, over.epoch))
    }

    /// Whether this part is of the document that is being fetched.
    fn is_for(&self, order: &PartOrder) -> bool {
        let search = self.search.as_ref();
        search.is_some_and(|s| (s.gateway, s.hash) == (order.gateway, order.wanted.hash))
    }

    /// Parts to ask for now, those on their way among them.
    fn wanted(&self) -> Vec<PartOrder> {
        let orders = self.search.iter().flat_map(|s| {
            let order = |part: &u16| PartOrder {
                gateway: s.gateway,
                wanted: DirectoryRequest {
                    hash: s.hash,
                    part: *part,
                },
            };
            s.missing.iter().take(WINDOW).map(order)
        });
        orders.collect()
    }

    /// One more request that brought nothing.
    fn missed(&mut self) -> Found {
        match &mut self.search {
            Some(search) if search.misses + 1 < MISSES_MAX => {
                search.misses += 1;
                Found::Nothing
            }
            Some(_) => Found::GivenUp,
            None => Found::Nothing,
        }
    }

    fn came(&mut self, order: &PartOrder, answer: Answer) -> Found {
        let Some(search) = &mut self.search else {
            return Found::Nothing;
        };
        let (part, parts, bytes) = match answer {
            Answer::Directory { part, parts, bytes } if part == order.wanted.part => {
                (part, parts, bytes)
            }
            Answer::Refused | Answer::Unreadable => return Found::GivenUp,
            Answer::Directory { .. }
            | Answer::Done
            | Answer::Stored
            | Answer::Cell { .. }
            | Answer::Empty
            | Answer::Opened { .. } => return self.missed(),
        };
        match search
            .assembler
            .handle_chunk(search.hash, part, parts, bytes)
        {
            Assembled::Incomplete => {
                if search.parts.replace(parts).is_none() {
                    search.missing = (0..parts).collect();
                }
                if search.missing.remove(&part) {
                    search.misses = 0;
                }
                Found::Nothing
            }
            Assembled::Complete(signed) => Found::Whole(signed),
            Assembled::Refused => Found::GivenUp,
        }
    }
}

impl<F: PacketFormat> Client<F> {
    /// The owner has verified what [`ClientEvent::OtherDirectory`] brought: nobody else is asked for it.
    pub fn handle_proven(&mut self, epoch: Epoch, hash: DirectoryHash) {
        self.others.proven(epoch, hash);
    }

    /// Compares a reply's directory with ours of the same epoch, where we hold one.
    pub(super) fn check_view(&mut self, gateway: NodeId, reply: &Reply) {
        let (epoch, theirs) = (reply.epoch, reply.directory);
        let ours = self.view.held().find(|d| d.epoch == epoch);
        if ours.is_none_or(|d| d.hash() == theirs) {
            return;
        }
        if self.others.seen(epoch, gateway, theirs) {
            self.events.push_back(ClientEvent::SplitView {
                gateway,
                epoch,
                theirs,
            });
        }
        // Also where the outbox was full before.
        self.ask_for_parts();
    }

    /// Epochs before this one are over.
    pub(super) fn forget_views(&mut self, oldest: Epoch) {
        if let Some((gateway, epoch)) = self.others.forget_before(oldest) {
            self.end_search(ClientEvent::SplitUnproven { gateway, epoch });
        }
    }

    /// An answer to a part that was asked for.
    pub(super) fn handle_part(&mut self, order: PartOrder, answer: Answer) {
        if self.others.is_for(&order) {
            let found = self.others.came(&order, answer);
            self.outbox.done(&Outgoing::Part(order));
            self.found(found);
            self.ask_for_parts();
        }
    }

    /// A part that was asked for did not come.
    pub(super) fn miss_part(&mut self, order: PartOrder) {
        if self.others.is_for(&order) {
            self.outbox.push_again(&Outgoing::Part(order));
            let found = self.others.missed();
            self.found(found);
        }
    }

    fn ask_for_parts(&mut self) {
        for order in self.others.wanted() {
            self.outbox.push(Outgoing::Part(order));
        }
    }

    fn found(&mut self, found: Found) {
        let ended = |s: Search, document: Option<SignedDirectory>| match document {
            Some(document) => ClientEvent::OtherDirectory {
                gateway: s.gateway,
                epoch: s.epoch,
                document,
            },
            None => ClientEvent::SplitUnproven {
                gateway: s.gateway,
                epoch: s.epoch,
            },
        };
        let document = match found {
            Found::Nothing => return,
            Found::Whole(document) => Some(document),
            Found::GivenUp => None,
        };
        if let Some(search) = self.others.search.take() {
            self.end_search(ended(search, document));
        }
    }

    fn end_search(&mut self, event: ClientEvent) {
        self.outbox.cancel_parts();
        self.events.push_back(event);
    }
}
